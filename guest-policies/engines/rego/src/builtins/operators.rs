//! Operators by their names, as `plus(1, 2)`.

use anyhow::{Result, anyhow};
use regorus::Value;

use super::Function;
use super::arguments::{take, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    ("and", 2, and),
    ("div", 2, div),
    ("eq", 2, equal),
    ("equal", 2, equal),
    ("gt", 2, gt),
    ("gte", 2, gte),
    ("lt", 2, lt),
    ("lte", 2, lte),
    ("minus", 2, minus),
    ("mul", 2, mul),
    ("neq", 2, neq),
    ("or", 2, or),
    ("plus", 2, plus),
    ("rem", 2, rem),
];

fn equal(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    Ok(Value::from(one == other))
}

fn neq(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    Ok(Value::from(one != other))
}

fn lt(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    Ok(Value::from(one < other))
}

fn lte(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    Ok(Value::from(one <= other))
}

fn gt(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    Ok(Value::from(one > other))
}

fn gte(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    Ok(Value::from(one >= other))
}

fn plus(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    match (&one, &other) {
        (Value::Number(one), Value::Number(other)) => Ok(Value::from(one.add(other)?)),
        _ => Err(not_numbers("plus", &one, &other)),
    }
}

fn minus(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    match (&one, &other) {
        (Value::Number(one), Value::Number(other)) => Ok(Value::from(one.sub(other)?)),
        (Value::Set(one), Value::Set(other)) => Ok(one.difference(other).into_value()),
        _ => Err(anyhow!("minus: expected two numbers or two sets, found {one} and {other}")),
    }
}

fn mul(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    match (&one, &other) {
        (Value::Number(one), Value::Number(other)) => Ok(Value::from(one.mul(other)?)),
        _ => Err(not_numbers("mul", &one, &other)),
    }
}

fn div(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    match (&one, &other) {
        (Value::Number(one), Value::Number(other)) => Ok(Value::from(one.clone().divide(other)?)),
        _ => Err(not_numbers("div", &one, &other)),
    }
}

fn rem(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    match (&one, &other) {
        (Value::Number(one), Value::Number(other)) => Ok(Value::from(one.clone().modulo(other)?)),
        _ => Err(not_numbers("rem", &one, &other)),
    }
}

fn and(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    match (&one, &other) {
        (Value::Set(one), Value::Set(other)) => Ok(one.intersection(other).into_value()),
        (Value::Set(_), wrong_one) | (wrong_one, _) => Err(wrong("and", "a set", wrong_one)),
    }
}

fn or(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    match (&one, &other) {
        (Value::Set(one), Value::Set(other)) => Ok(one.union(other).into_value()),
        (Value::Set(_), wrong_one) | (wrong_one, _) => Err(wrong("or", "a set", wrong_one)),
    }
}

fn not_numbers(function: &str, one: &Value, other: &Value) -> anyhow::Error {
    let found = if matches!(one, Value::Number(_)) { other } else { one };
    wrong(function, "a number", found)
}
