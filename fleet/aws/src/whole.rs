//! Refuses answers that end too early.
//!
//! The SDK's XML reader takes a document that stops in the middle for one that says nothing more: half a list of
//! instances would pass for all of them. (CBOR and JSON are refused by their readers when they are cut.)

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Checks that a successful answer's document was closed.
#[derive(Debug)]
pub(crate) struct WholeXml;

impl Intercept for WholeXml {
    fn name(&self) -> &'static str {
        "whole XML"
    }
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let body = response.body().bytes().unwrap_or_default();
        if response.status().is_success() && !is_whole(&String::from_utf8_lossy(body)) {
            return Err("the answer ends before its document does".into());
        }
        Ok(())
    }
}

/// Whether the text ends with the end of its first element, whose name no element inside it bears: EC2's are
/// called after the action.
fn is_whole(document: &str) -> bool {
    let mut rest = document.trim();
    while let Some(prolog) = rest.strip_prefix("<?").and_then(|rest| rest.split_once("?>")) {
        rest = prolog.1.trim_start();
    }
    let Some(root) = rest.strip_prefix('<') else { return false };
    let name = root.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
    let closed = rest.strip_suffix('>').and_then(|rest| rest.trim_end().strip_suffix(name));
    let alone = root.strip_suffix("/>").is_some_and(|inside| !inside.contains('>'));
    !name.is_empty() && (alone || closed.is_some_and(|rest| rest.ends_with("</")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_beginning_of_a_document_passes_for_the_whole() {
        let whole = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<List xmlns=\"http://x/\"><Item>List</Item></List >\n";
        assert!(is_whole(whole));
        let end = whole.rfind('>').expect("it has an end");
        for length in 0..=end {
            assert!(!is_whole(&whole[..length]), "{:?}", &whole[..length]);
        }
    }

    #[test]
    fn an_empty_element_is_whole_and_what_is_no_document_is_not() {
        for whole in ["<List/>", "<List xmlns=\"http://x/\" />\n", "<L></L>"] {
            assert!(is_whole(whole), "{whole}");
        }
        for other in ["", "{}", "<>", "</>", "<List><Item/>", "List></List>"] {
            assert!(!is_whole(other), "{other}");
        }
    }
}
