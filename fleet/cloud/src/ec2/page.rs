//! Paging of describes.

use crate::wire::{AwsError, Data};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::ops::RangeInclusive;

/// One page of what matched.
pub(super) struct Page<T> {
    pub items: Vec<T>,
    /// `nextToken`; `Null` on the last page.
    pub next: Data,
}

/// Cuts the page out that a request asks for.
///
/// * `items`: all that match, in any order, each with a name that is its own: pages are in the order of names,
///   so that what comes or goes between two pages neither hides nor repeats the rest.
/// * `limits`: what `MaxResults` may be; without it, a page has the most.
pub(super) fn page<T>(
    input: &Data,
    limits: RangeInclusive<usize>,
    items: impl IntoIterator<Item = (String, T)>,
) -> Result<Page<T>, AwsError> {
    let limit = match input.get("MaxResults") {
        Data::Null => *limits.end(),
        given => given
            .as_i64()
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| limits.contains(limit))
            .ok_or_else(|| {
                let given = given.as_str().unwrap_or_default();
                let message = format!(
                    "Value ( {given} ) for parameter maxResults is invalid. Expecting a value from {} to {}.",
                    limits.start(),
                    limits.end()
                );
                AwsError::new("InvalidParameterValue", message)
            })?,
    };
    let after = match input.get("NextToken").as_str() {
        None | Some("") => None,
        Some(token) => {
            let invalid =
                || AwsError::new("InvalidPaginationToken", "The token in the request is not valid.");
            let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
            Some(String::from_utf8(bytes).map_err(|_| invalid())?)
        }
    };
    let mut items: Vec<(String, T)> = items.into_iter().collect();
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(after) = after {
        items.retain(|(name, _)| *name > after);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more {
        items.last().map_or(Data::Null, |(name, _)| URL_SAFE_NO_PAD.encode(name).into())
    } else {
        Data::Null
    };
    Ok(Page { items: items.into_iter().map(|(_, item)| item).collect(), next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::map;

    #[test]
    fn pages_together_are_the_whole_even_when_something_goes_meanwhile() {
        let all = || ["d", "a", "c", "e", "b"].map(|name| (name.to_owned(), name));
        let mut seen = Vec::new();
        let mut token = Data::Null;
        for round in 0.. {
            let input = map([("MaxResults", "2".into()), ("NextToken", token)]);
            // The item that the token names is gone when the next page is asked for.
            let there = all().into_iter().filter(|(name, _)| round == 0 || name != "b");
            let page = page(&input, 1..=1000, there).expect("a page");
            seen.extend(page.items);
            token = page.next;
            if token.is_null() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn odd_limits_and_tokens_are_refused() {
        let check = |name: &str, value: &str| {
            let input = map([(name, value.into())]);
            page(&input, 5..=1000, [("a".to_owned(), ())]).err().map(|error| error.code)
        };
        for limit in ["4", "1001", "-1", "x", ""] {
            assert_eq!(check("MaxResults", limit).as_deref(), Some("InvalidParameterValue"), "{limit}");
        }
        assert_eq!(check("NextToken", "%%").as_deref(), Some("InvalidPaginationToken"));
    }
}
