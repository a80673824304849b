//! The form body of the Query protocols: `Filter.1.Value.2=x` is a tree.

use super::{AwsError, Data};
use std::collections::BTreeMap;

/// How deep a name may go; the deepest that EC2's model has is 9.
const MAX_DEPTH: usize = 16;

/// Reads a form body (or a query string) as a tree: names with numbers are lists, in the order of their numbers.
///
/// AWS Query's `member` level is left out, so that EC2's lists and those of the other services read alike.
/// Fails when a name is at once a value and a parent, or goes deeper than any service's.
pub(crate) fn parse(body: &[u8]) -> Result<Data, AwsError> {
    let mut root = Node::default();
    for (name, value) in form_urlencoded::parse(body) {
        let mut node = &mut root;
        for (depth, part) in name.split('.').enumerate() {
            if depth == MAX_DEPTH {
                return Err(malformed(&name));
            }
            if node.value.is_some() {
                return Err(malformed(&name));
            }
            node = node.children.entry(part.to_owned()).or_default();
        }
        if !node.children.is_empty() || node.value.is_some() {
            return Err(malformed(&name));
        }
        node.value = Some(value.into_owned());
    }
    Ok(root.into_data())
}

fn malformed(name: &str) -> AwsError {
    let name: String = name.chars().take(64).collect();
    AwsError::new("MalformedQueryString", format!("The query string has a malformed parameter: {name}"))
}

#[derive(Default)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

impl Node {
    fn into_data(self) -> Data {
        if let Some(value) = self.value {
            return Data::Text(value);
        }
        let mut children = self.children;
        if children.len() == 1
            && let Some(members) = children.remove("member")
        {
            return members.into_data();
        }
        let mut numbered: Vec<(u32, Node)> = Vec::new();
        if !children.is_empty() && children.keys().all(|name| name.parse::<u32>().is_ok()) {
            numbered.extend(children.into_iter().filter_map(|(name, node)| Some((name.parse().ok()?, node))));
            numbered.sort_by_key(|(number, _)| *number);
            return Data::List(numbered.into_iter().map(|(_, node)| node.into_data()).collect());
        }
        Data::Map(children.into_iter().map(|(name, node)| (name, node.into_data())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::map;
    use super::*;

    #[test]
    fn numbered_names_are_lists_in_the_order_of_their_numbers() {
        let body = b"Action=DescribeInstances&Filter.10.Name=b&Filter.2.Name=a&Filter.2.Value.1=x%20y&Filter.2.Value.2=z";
        let filters = parse(body).expect("a form").get("Filter").clone();
        let expected = Data::List(vec![
            map([("Name", "a".into()), ("Value", Data::list(["x y", "z"]))]),
            map([("Name", "b".into())]),
        ]);
        assert_eq!(filters, expected);
    }

    #[test]
    fn the_member_level_of_aws_query_is_left_out() {
        let body = b"MetricDataQueries.member.1.Id=m1&Statistics.member.1=Average";
        let form = parse(body).expect("a form");
        assert_eq!(form.get("Statistics").texts(), ["Average"]);
        assert_eq!(form.get("MetricDataQueries").items()[0].get("Id").as_str(), Some("m1"));
    }

    #[test]
    fn names_that_contradict_each_other_are_refused() {
        let deep = format!("{}=1", vec!["a"; 200_000].join("."));
        for body in ["a=1&a.b=2", "a.b=2&a=1", "a=1&a=2", deep.as_str()] {
            let error = parse(body.as_bytes()).expect_err("refused");
            assert_eq!(error.code, "MalformedQueryString");
        }
    }
}
