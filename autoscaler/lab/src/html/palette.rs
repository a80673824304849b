//! Colours, in light and in dark.

use std::fmt::Write as _;

/// A colour: its name in the style sheet, in light, in dark.
pub(super) struct Colour {
    pub name: &'static str,
    pub light: &'static str,
    pub dark: &'static str,
    /// The contrast with the paper that it needs: 4.5 for what is read, 3 for what is looked at, 1 for decoration.
    #[cfg(test)]
    pub contrast: f64,
}

macro_rules! colours {
    ($($name:literal, $light:literal, $dark:literal, $contrast:literal;)*) => {
        &[$(Colour { name: $name, light: $light, dark: $dark, #[cfg(test)] contrast: $contrast }),*]
    };
}

/// All colours of the report. The first is the paper.
pub(super) const PALETTE: &[Colour] = colours![
    "paper", "#ffffff", "#0d1117", 1.0;
    "shade", "#f3f5f8", "#161b22", 1.0;
    "grid", "#dde2e8", "#2a3038", 1.0;
    "ink", "#1b1f24", "#e6edf3", 7.0;
    "muted", "#545d68", "#a2abb5", 4.5;
    "demand", "#6b7580", "#9aa4af", 3.0;
    "capacity", "#0550ae", "#6cb6ff", 4.5;
    "paid", "#8a3fc7", "#c297ff", 4.5;
    "busy", "#0a6b5e", "#45c4b0", 4.5;
    "above", "#b04a00", "#f69d50", 4.5;
    "full", "#a40e26", "#ff8078", 4.5;
    "good", "#116329", "#57d06a", 4.5;
    "pool-0", "#0550ae", "#6cb6ff", 3.0;
    "pool-1", "#a86a00", "#e0b040", 3.0;
    "pool-2", "#1a7f37", "#57d06a", 3.0;
    "pool-3", "#8a3fc7", "#c297ff", 3.0;
    "pool-4", "#bf3989", "#ff9bce", 3.0;
    "pool-5", "#0a7c86", "#56d4dd", 3.0;
];

/// How many colours there are for pools.
pub(super) const POOL_COLOURS: usize = 6;

/// The rules that define the colours: light, and dark where a screen asks for it.
pub(super) fn rules() -> String {
    let mut rules = String::new();
    let block = |of: fn(&Colour) -> &'static str| -> String {
        PALETTE.iter().map(|colour| format!("--{}:{};", colour.name, of(colour))).collect::<Vec<_>>().concat()
    };
    // Writing to a `String` cannot fail.
    let _ = writeln!(rules, ":root{{color-scheme:light dark;{}}}", block(|c| c.light));
    let _ = writeln!(
        rules,
        "@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n@media print{{:root{{color-scheme:light}}}}",
        block(|c| c.dark)
    );
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance, as WCAG 2 defines it.
    fn luminance(hex: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("two hex digits")) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_colour_stands_out_from_its_paper_in_light_and_dark() {
        assert!((contrast("#ffffff", "#000000") - 21.0).abs() < 1e-9);
        let (paper, shade) = (&PALETTE[0], &PALETTE[1]);
        for colour in PALETTE {
            for (mine, papers) in
                [(colour.light, [paper.light, shade.light]), (colour.dark, [paper.dark, shade.dark])]
            {
                for paper in papers {
                    let contrast = contrast(mine, paper);
                    assert!(contrast >= colour.contrast, "{}: {mine} on {paper}: {contrast:.2}", colour.name);
                }
            }
        }
    }

    #[test]
    fn there_are_as_many_pool_colours_as_are_used() {
        assert_eq!(PALETTE.iter().filter(|colour| colour.name.starts_with("pool-")).count(), POOL_COLOURS);
    }
}
