//! Operators on known values.

use hcl_edit::expr::{BinaryOperator, UnaryOperator};

use crate::node::{Node, Value};

/// What null is compared as: no text of HCL begins so.
const NULL: &str = "\u{0}null";

pub(super) fn unary(operator: UnaryOperator, operand: &Node) -> Option<Node> {
    let value = match (operator, operand.known()?.as_str()) {
        (UnaryOperator::Not, "true") => Value::Bool(false),
        (UnaryOperator::Not, "false") => Value::Bool(true),
        (UnaryOperator::Neg, number) => Value::Number((-number.parse::<f64>().ok()?).to_string()),
        (UnaryOperator::Not, _) => return None,
    };
    Some(Node { value, place: operand.place.clone() })
}

pub(super) fn binary(operator: BinaryOperator, left: &Node, right: &Node) -> Option<Node> {
    let place = left.place.clone();
    let bool = |value| Some(Node { value: Value::Bool(value), place: place.clone() });
    let (one, other) = (known(left), known(right));
    // One operand can be enough.
    match (operator, one.as_deref(), other.as_deref()) {
        (BinaryOperator::And, Some("false"), _) | (BinaryOperator::And, _, Some("false")) => {
            return bool(false);
        }
        (BinaryOperator::Or, Some("true"), _) | (BinaryOperator::Or, _, Some("true")) => {
            return bool(true);
        }
        _ => {}
    }
    // A list or a map is there, so it is not null.
    let is_null = |text: &Option<String>| text.as_deref() == Some(NULL);
    if is_collection(left) && is_null(&other) || is_collection(right) && is_null(&one) {
        match operator {
            BinaryOperator::Eq => return bool(false),
            BinaryOperator::NotEq => return bool(true),
            _ => return None,
        }
    }
    let (one, other) = (one?, other?);
    let number = |of: fn(f64, f64) -> f64| {
        let value = of(one.parse().ok()?, other.parse().ok()?);
        Some(Node { value: Value::Number(value.to_string()), place: place.clone() })
    };
    let compared = |of: fn(&f64, &f64) -> bool| {
        bool(of(&one.parse::<f64>().ok()?, &other.parse::<f64>().ok()?))
    };
    match operator {
        BinaryOperator::Eq => bool(one == other),
        BinaryOperator::NotEq => bool(one != other),
        BinaryOperator::And => bool(one == "true" && other == "true"),
        BinaryOperator::Or => bool(one == "true" || other == "true"),
        BinaryOperator::Plus => number(|a, b| a + b),
        BinaryOperator::Minus => number(|a, b| a - b),
        BinaryOperator::Mul => number(|a, b| a * b),
        BinaryOperator::Div => number(|a, b| a / b),
        BinaryOperator::Mod => number(|a, b| a % b),
        BinaryOperator::Less => compared(f64::lt),
        BinaryOperator::LessEq => compared(f64::le),
        BinaryOperator::Greater => compared(f64::gt),
        BinaryOperator::GreaterEq => compared(f64::ge),
    }
}

/// The text of a known scalar; null is one too, and equals nothing else.
fn known(node: &Node) -> Option<String> {
    match &node.value {
        Value::Null => Some(NULL.to_owned()),
        _ => node.known(),
    }
}

/// Returns true for a list or a map, whatever is in it.
fn is_collection(node: &Node) -> bool {
    matches!(node.value, Value::List(_) | Value::Map(_))
}
