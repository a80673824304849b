//! A document taken apart: the report is written so that it can be read as XML, too.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::BTreeMap;

/// An element, with all the text within.
pub struct Element {
    pub tag: String,
    pub text: String,
    attributes: BTreeMap<String, String>,
}

impl Element {
    /// An attribute's value; empty where there is none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// All elements, in the order in which they begin.
pub struct Markup {
    pub elements: Vec<Element>,
}

impl Markup {
    /// Reads a document, and panics where it is not well formed.
    pub fn read(page: &str) -> Self {
        let mut reader = Reader::from_str(page);
        let mut elements: Vec<Element> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let say = |elements: &mut Vec<Element>, open: &[usize], text: &str| {
            for at in open {
                elements[*at].text.push_str(text);
            }
        };
        loop {
            match reader.read_event().unwrap_or_else(|e| panic!("at {}: {e}", reader.error_position())) {
                Event::Start(start) => {
                    open.push(elements.len());
                    elements.push(element(&start));
                }
                Event::Empty(start) => elements.push(element(&start)),
                Event::End(_) => {
                    open.pop().expect("what ends has begun");
                }
                Event::Text(text) => say(&mut elements, &open, &text),
                Event::GeneralRef(name) => {
                    let name = format!("&{};", &*name);
                    say(&mut elements, &open, &quick_xml::escape::unescape(&name).expect("a known entity"));
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert!(open.is_empty(), "everything ends");
        Self { elements }
    }

    pub fn of_tag<'m>(&'m self, tag: &str) -> impl Iterator<Item = &'m Element> {
        let tag = tag.to_owned();
        self.elements.iter().filter(move |element| element.tag == tag)
    }

    /// How many there are of this tag and class.
    pub fn count(&self, tag: &str, class: &str) -> usize {
        self.of_tag(tag).filter(|element| element.attribute("class") == class).count()
    }
}

fn element(start: &BytesStart<'_>) -> Element {
    let attributes = start.attributes().map(|attribute| {
        let attribute = attribute.expect("a sound attribute");
        let value = quick_xml::escape::unescape(&attribute.value).expect("known entities").into_owned();
        (attribute.key.as_ref().to_owned(), value)
    });
    Element { tag: start.name().as_ref().to_owned(), text: String::new(), attributes: attributes.collect() }
}
