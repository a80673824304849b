//! EC2's CreateTags, by its Query API: one call is no reason for EC2's SDK.

use crate::error::{bounded, chain};
use crate::sign::Unsigned;
use crate::{Aws, AwsError, Operation};
use fleet::Timestamp;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::time::Duration;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// The most of an answer that is read: a refusal has a few hundred bytes.
const MOST_BYTES: usize = 64 * 1024;

impl Aws {
    /// Sets a tag of an instance; says the same thing twice without harm.
    ///
    /// * `at`: the host's wall time, for the signature.
    ///
    /// Needs `ec2:CreateTags` on the instance; a condition on `aws:TagKeys` keeps it to the agent's own.
    pub async fn tag_self(
        &self,
        instance: &str,
        key: &str,
        value: &str,
        at: Timestamp,
    ) -> Result<(), AwsError> {
        let operation = || Operation::Tag { instance: instance.to_owned(), key: key.to_owned() };
        let region = self.options.region.as_str();
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let own = format!("https://ec2.{region}.{suffix}");
        let endpoint = self.options.endpoints.ec2().unwrap_or(&own).trim_end_matches('/');
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "CreateTags")
            .append_pair("Version", "2016-11-15")
            .append_pair("ResourceId.1", instance)
            .append_pair("Tag.1.Key", key)
            .append_pair("Tag.1.Value", value)
            .finish();
        let url = format!("{endpoint}/");
        let unsigned = Unsigned {
            service: "ec2",
            region,
            url: &url,
            headers: vec![("Content-Type", FORM)],
            body: &body,
        };
        let signed = unsigned.sign(self.keys().await?, at)?;
        let failed = |error: reqwest::Error| AwsError::Unanswered {
            operation: operation(),
            why: bounded(&chain(&error.without_url())),
        };
        let mut request = self.client(&url).map_err(failed)?.post(&signed.url).body(signed.body);
        for (name, value) in &signed.headers {
            request = request.header(name, value.expose());
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            text.extend_from_slice(&chunk[..chunk.len().min(MOST_BYTES - text.len())]);
            // Of a longer answer the rest is left where it is: nobody who says yes or no says that much.
            if text.len() == MOST_BYTES {
                break;
            }
        }
        if response.status().is_success() {
            if is_tagged(&text) {
                return Ok(());
            }
            let why = format!("an answer with the status {status} that does not say it is so");
            return Err(AwsError::Unanswered { operation: operation(), why });
        }
        let (code, message) = refusal_in(&text);
        Err(AwsError::refused(operation(), status, code.as_deref(), &message.unwrap_or_default(), None))
    }

    /// A client for one call: it is made once in a boot, and reading the trusted certificates is most of it.
    fn client(&self, url: &str) -> Result<reqwest::Client, reqwest::Error> {
        // An error says that there is a provider already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(self.options.connect_timeout)
            .timeout(self.options.timeout)
            .pool_idle_timeout(Duration::ZERO)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("muster-bootstrap/", env!("CARGO_PKG_VERSION")));
        if crate::transport::is_near(url) {
            builder = builder.no_proxy();
        }
        builder.build()
    }
}

/// Whether EC2 says that the tag is set: a proxy's page, or half an answer, has a good status too.
pub fn is_tagged(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut reader = Reader::from_str(&text);
    let (mut within, mut said) = (Vec::new(), String::new());
    loop {
        match reader.read_event() {
            Ok(Event::Start(element)) => within.push(element.local_name().as_ref().to_owned()),
            Ok(Event::End(_)) => {
                within.pop();
                if within.is_empty() {
                    return said.trim() == "true";
                }
            }
            Ok(Event::Text(text)) => {
                if within == ["CreateTagsResponse", "return"] {
                    said.push_str(&text);
                }
            }
            Ok(Event::Eof) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// The code and the message of EC2's refusal; nothing where the text is something else.
pub fn refusal_in(text: &[u8]) -> (Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(text);
    let mut reader = Reader::from_str(&text);
    let (mut within, mut code, mut message) = (Vec::new(), None, None);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element)) => within.push(element.local_name().as_ref().to_owned()),
            Ok(Event::End(_)) => drop(within.pop()),
            Ok(Event::Text(text)) => {
                let place = match within.last().map(String::as_str) {
                    Some("Code") => &mut code,
                    Some("Message") => &mut message,
                    _ => continue,
                };
                place.get_or_insert_with(String::new).push_str(&bounded(&text));
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    (code.map(|text| bounded(&text)), message.map(|text| bounded(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_set_where_ec2_says_so_to_the_end() {
        let whole = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <CreateTagsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n    \
            <requestId>7a62c49f-347e-4fc4-9331-6e8e</requestId>\n    <return>true</return>\n</CreateTagsResponse>";
        assert!(is_tagged(whole.as_bytes()));
        for end in 0..whole.len() {
            assert!(!is_tagged(&whole.as_bytes()[..end]), "{}", &whole[..end]);
        }
        let others = [
            "<html><body>true</body></html>",
            "<return>true</return>",
            "<DeleteTagsResponse><return>true</return></DeleteTagsResponse>",
            "<CreateTagsResponse><return>false</return></CreateTagsResponse>",
            "<CreateTagsResponse><return/></CreateTagsResponse>",
            "<CreateTagsResponse><x><return>true</return></x></CreateTagsResponse>",
            "<CreateTagsResponse><return>true</CreateTagsResponse>",
        ];
        for other in others {
            assert!(!is_tagged(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_refusal_is_read_and_what_is_none_is_let_be() {
        let text = "<?xml version=\"1.0\"?><Response><Errors><Error><Code>UnauthorizedOperation</Code>\
            <Message>You are not authorized</Message></Error></Errors><RequestID>1</RequestID></Response>";
        let (code, message) = refusal_in(text.as_bytes());
        assert_eq!(code.as_deref(), Some("UnauthorizedOperation"));
        assert_eq!(message.as_deref(), Some("You are not authorized"));
        for text in ["", "<html><body>502", "{}", "<Code>", "<Error><Code></Error>"] {
            assert_eq!(refusal_in(text.as_bytes()), (None, None), "{text}");
        }
    }
}
