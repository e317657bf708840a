//! XML answers as JSON: an element with children is an object, any other is its text.

use roxmltree::{Document, Node};
use serde_json::{Map, Value};

/// The content of the root element, or null if the text isn't XML.
pub(crate) fn read(text: &str) -> Value {
    Document::parse(text.trim_start()).map_or(Value::Null, |document| value(document.root_element()))
}

/// Children of one name are a list if there are several. Children that are named `member` are a list in any case.
fn value(node: Node<'_, '_>) -> Value {
    let children: Vec<Node<'_, '_>> = node.children().filter(Node::is_element).collect();
    if children.is_empty() {
        return Value::String(node.text().unwrap_or_default().to_owned());
    }
    // Names are compared without their name space.
    if children.iter().all(|child| child.tag_name().name() == "member") {
        return Value::Array(children.into_iter().map(value).collect());
    }
    let mut fields = Map::new();
    for child in children {
        let (name, read) = (child.tag_name().name().to_owned(), value(child));
        match fields.get_mut(&name) {
            None => drop(fields.insert(name, read)),
            Some(Value::Array(list)) => list.push(read),
            Some(first) => *first = Value::Array(vec![first.take(), read]),
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_become_objects_lists_and_texts() {
        let text = "<A xmlns='x'><L><member>1</member></L><R><I>a</I></R><R><I>b</I></R><E/></A>";
        assert_eq!(read(text), json!({ "L": ["1"], "R": [{ "I": "a" }, { "I": "b" }], "E": "" }));
        assert_eq!(read("{}"), Value::Null);
    }
}
