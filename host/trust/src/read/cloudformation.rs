//! CloudFormation's templates, with the functions that can be computed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::aws;
use crate::node::{Node, Place, Text, Value};
use crate::trust_statement::{TrustStatement, UnknownEffect};

/// The maximum length of a text that functions make.
const MAX_TEXT: usize = 64 << 10;

/// The maximum size of a default.
const MAX_DEFAULT: usize = 64;

/// The maximum size of what functions make.
const MAX_NODES: usize = 200_000;

/// The names that a template defines.
struct Template<'n> {
    parameters: BTreeMap<&'n str, &'n Node>,
    resources: BTreeMap<&'n str, &'n Node>,
    /// The size of the copies that functions have made.
    made: Cell<usize>,
}

/// Reads the trust statements of a template; `None` if the file is none.
pub(crate) fn read(root: &Node) -> Option<Vec<TrustStatement>> {
    let resources = root.get("Resources")?;
    let is_resource = |(_, node): &(String, Node)| {
        node.get("Type").and_then(Node::text).is_some_and(|of| of.text.contains("::"))
    };
    if !resources.members().iter().any(is_resource) {
        return None;
    }
    let template = Template {
        parameters: root.get("Parameters").map(named).unwrap_or_default(),
        resources: named(resources),
        made: Cell::new(0),
    };
    let mut statements = Vec::new();
    for (name, resource) in resources.members() {
        let properties = resource.get("Properties");
        let of = resource.get("Type").and_then(Node::text).map(|of| of.text).unwrap_or_default();
        if name.starts_with("Fn::") || properties.is_some_and(has_transform) {
            // `Fn::ForEach` and transforms make resources that the template does not show.
            let node = Node::unknown(name, Vec::new(), resource.place.clone());
            statements.extend(aws::role(Some(&node), &resource.place, name, &BTreeSet::new()));
            continue;
        }
        let policy = properties.and_then(|properties| properties.get("AssumeRolePolicyDocument"));
        if policy.is_none() && of != "AWS::IAM::Role" {
            continue;
        }
        let policy = policy.map(|policy| template.resolve(policy, 0));
        let mut found = aws::role(policy.as_ref(), &resource.place, name, &BTreeSet::new());
        if resource.get("Condition").is_some() {
            for statement in &mut found {
                let effect = UnknownEffect::Narrows;
                statement.note(
                    effect,
                    &resource.place,
                    format!("the condition that `{name}` is made under"),
                );
            }
        }
        statements.extend(found);
    }
    Some(statements)
}

fn named(node: &Node) -> BTreeMap<&str, &Node> {
    node.members().iter().map(|(name, node)| (name.as_str(), node)).collect()
}

fn has_transform(node: &Node) -> bool {
    node.get("Fn::Transform").is_some()
}

impl Template<'_> {
    /// Evaluates the functions in a value.
    fn resolve(&self, node: &Node, depth: usize) -> Node {
        let place = node.place.clone();
        if depth > crate::json::MAX_DEPTH || self.made.get() > MAX_NODES {
            return Node::unknown("…", Vec::new(), place);
        }
        match &node.value {
            Value::Map(members) => {
                if let [(function, argument)] = members.as_slice()
                    && (function == "Ref" || function.starts_with("Fn::"))
                {
                    return self.call(function, argument, &place, depth + 1);
                }
                let members =
                    members.iter().map(|(key, node)| (key.clone(), self.resolve(node, depth + 1)));
                Node { value: Value::Map(members.collect()), place }
            }
            Value::List(elements) => {
                // `AWS::NoValue` leaves an element out.
                let elements = elements.iter().map(|node| self.resolve(node, depth + 1));
                let elements = elements.filter(|node| !matches!(node.value, Value::Null));
                Node { value: Value::List(elements.collect()), place }
            }
            // Only `Fn::Sub` replaces anything. What remains is a variable of IAM.
            _ => node.clone(),
        }
    }

    fn call(&self, function: &str, argument: &Node, place: &Place, depth: usize) -> Node {
        let made = match function {
            "Ref" => argument.known().map(|name| self.reference(&name, place)),
            "Fn::GetAtt" => {
                let parts: Vec<_> = argument.texts().into_iter().map(|text| text.text).collect();
                let parts = match parts.as_slice() {
                    [whole] => whole.splitn(2, '.').map(ToOwned::to_owned).collect(),
                    _ => parts,
                };
                match parts.as_slice() {
                    [name, attribute] if attribute == "Arn" => Some(self.reference(name, place)),
                    _ => None,
                }
            }
            "Fn::Sub" => self.substitute(argument, place, depth),
            "Fn::Join" => match argument.elements() {
                [separator, list] => {
                    let list = self.resolve(list, depth);
                    self.join(separator, &list, place)
                }
                _ => None,
            },
            "Fn::If" => match argument.elements() {
                [condition, one, other] => {
                    let written = format!("Fn::If {}", condition.known().unwrap_or_default());
                    let origin = format!("one branch of `{written}`");
                    let branches =
                        [one, other].map(|node| self.resolve(node, depth).uncertain(&origin));
                    let likely = branches.iter().flat_map(Node::elements).cloned().collect();
                    Some(Node::unknown(&written, likely, place.clone()))
                }
                _ => None,
            },
            "Fn::Select" => match argument.elements() {
                [index, list] => {
                    let list = self.resolve(list, depth);
                    let index: Option<usize> = index.known().and_then(|index| index.parse().ok());
                    match (&list.value, index) {
                        (Value::List(elements), Some(index)) => elements.get(index).cloned(),
                        _ => None,
                    }
                }
                _ => None,
            },
            "Fn::Split" => match argument.elements() {
                [separator, text] => {
                    let (separator, text) = (separator.known(), self.resolve(text, depth).known());
                    separator.zip(text).map(|(separator, text)| {
                        let parts = text.split(separator.as_str());
                        let parts =
                            parts.map(|part| Node::of_text(Text::known(part), place.clone()));
                        Node { value: Value::List(parts.collect()), place: place.clone() }
                    })
                }
                _ => None,
            },
            _ => None,
        };
        let made = made.filter(|node| self.may_make(node.size()));
        made.unwrap_or_else(|| Node::unknown(function, Vec::new(), place.clone()))
    }

    /// Counts copies, and returns false if there are too many.
    fn may_make(&self, size: usize) -> bool {
        self.made.set(self.made.get().saturating_add(size));
        self.made.get() <= MAX_NODES
    }

    fn join(&self, separator: &Node, list: &Node, place: &Place) -> Option<Node> {
        let separator = separator.known()?;
        let Value::List(_) = list.value else { return None };
        let parts = list.texts();
        let mut made = Text::known("");
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                made.text.push_str(&separator);
            }
            made.text.push_str(&part.text);
            made.known &= part.known;
            made.origin = made.origin.or_else(|| part.origin.clone());
            if made.text.len() > MAX_TEXT {
                return None;
            }
        }
        Some(Node::of_text(made, place.clone()))
    }

    /// `Fn::Sub`: a text, or a text and the values of its names.
    fn substitute(&self, argument: &Node, place: &Place, depth: usize) -> Option<Node> {
        let (text, values) = match argument.elements() {
            [text] => (text, None),
            [text, values] => (text, Some(values)),
            _ => return None,
        };
        let Value::Text(Text { text, first_line, .. }) = &text.value else { return None };
        let mut made = Text { first_line: *first_line, ..Text::known("") };
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            made.text.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                rest = "";
                break;
            };
            rest = after;
            // `${!Literal}` is `${Literal}`, which IAM may replace.
            if let Some(literal) = name.strip_prefix('!') {
                made.text.push_str(&format!("${{{literal}}}"));
                made.known = false;
                continue;
            }
            let name = name.trim();
            let value = match values.and_then(|values| values.get(name)) {
                Some(value) => self.resolve(value, depth),
                None => self.reference(name.strip_suffix(".Arn").unwrap_or(name), place),
            };
            let part = value.text().unwrap_or_else(|| Text::unknown(format!("${{{name}}}")));
            made.text.push_str(&part.text);
            made.known &= part.known;
            made.origin = made.origin.or(part.origin);
            if made.text.len() > MAX_TEXT {
                return None;
            }
        }
        made.text.push_str(rest);
        Some(Node::of_text(made, place.clone()))
    }

    /// The value of a parameter, or the ARN of a provider that the template makes.
    fn reference(&self, name: &str, place: &Place) -> Node {
        if name == "AWS::NoValue" {
            return Node { value: Value::Null, place: place.clone() };
        }
        if name == "AWS::Partition" {
            // Only the account's own partition has its roles.
            return Node::of_text(Text::unknown("aws"), place.clone());
        }
        // A value is at most 4,096 bytes long, and a longer one would be copied to each place that refers to it.
        let default = self.parameters.get(name).and_then(|parameter| parameter.get("Default"));
        if let Some(default) = default.filter(|default| default.size() <= MAX_DEFAULT) {
            let default = default.clone().at(place);
            let default =
                match (&default.value, self.parameters.get(name).and_then(|p| p.get("Type"))) {
                    (Value::Text(text), Some(of))
                        if of.known().is_some_and(|of| of == "CommaDelimitedList") =>
                    {
                        let parts = text
                            .text
                            .split(',')
                            .map(|part| Node::of_text(Text::known(part.trim()), place.clone()));
                        Node { value: Value::List(parts.collect()), place: place.clone() }
                    }
                    _ => default,
                };
            let default = default.uncertain(&format!("the default of the parameter `{name}`"));
            return match default.value {
                Value::List(elements) => Node::unknown(name, elements, place.clone()),
                _ => default,
            };
        }
        let resource = self.resources.get(name);
        let is_provider = |node: &&&Node| {
            node.get("Type").and_then(Node::known).as_deref() == Some("AWS::IAM::OIDCProvider")
        };
        let url = resource.filter(is_provider).and_then(|node| node.get("Properties")?.get("Url"));
        if let Some(url) = url.map(|url| self.resolve(url, 1)).and_then(|url| url.text()) {
            let host = url.text.strip_prefix("https://").unwrap_or(&url.text);
            let text = format!("arn:aws:iam::${{AWS::AccountId}}:oidc-provider/{host}");
            return Node::of_text(Text { text, known: false, ..url }, place.clone());
        }
        Node::unknown(name, Vec::new(), place.clone())
    }
}
