//! The request of OTLP: `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`, in protobuf.

use countersign_issuer::{FinishedTrace, TraceEvent, TraceSpan, TraceValue};

/// The kind of a span that serves a request, and of one within the service.
const SERVER: u64 = 2;
const INTERNAL: u64 = 1;
/// The status of a span that has failed.
const ERROR: u64 = 2;

/// Encodes a request with these traces.
pub(crate) fn request(service: &str, traces: &[FinishedTrace]) -> Vec<u8> {
    let mut resource = Message::default();
    let version = TraceValue::Text(env!("CARGO_PKG_VERSION").to_owned());
    resource.message(1, &attribute("service.name", &TraceValue::Text(service.to_owned())));
    resource.message(1, &attribute("service.version", &version));
    let mut scope = Message::default();
    scope.bytes(1, b"countersign");
    let mut spans = Message::default();
    spans.message(1, &scope);
    for trace in traces {
        for (place, one) in trace.spans.iter().enumerate() {
            let parent = trace.spans.first().filter(|_| place > 0).map(|own| own.id);
            spans.message(2, &span(trace, one, parent));
        }
    }
    let mut all = Message::default();
    all.message(1, &resource);
    all.message(2, &spans);
    let mut request = Message::default();
    request.message(1, &all);
    request.0
}

fn span(trace: &FinishedTrace, span: &TraceSpan, parent: Option<[u8; 8]>) -> Message {
    let mut message = Message::default();
    message.bytes(1, &trace.id);
    message.bytes(2, &span.id);
    if let Some(parent) = parent {
        message.bytes(4, &parent);
    }
    message.bytes(5, span.name.as_bytes());
    message.varint(6, if parent.is_none() { SERVER } else { INTERNAL });
    message.fixed64(7, span.start);
    message.fixed64(8, span.end);
    for (name, value) in &span.attributes {
        message.message(9, &attribute(name, value));
    }
    for one in &span.events {
        message.message(11, &event(one, span.end));
    }
    message.varint(12, span.dropped_events.into());
    if let (None, Some(link)) = (parent, trace.link) {
        let mut linked = Message::default();
        linked.bytes(1, &link.trace);
        linked.bytes(2, &link.span);
        message.message(13, &linked);
    }
    if span.has_failed {
        let mut status = Message::default();
        status.varint(3, ERROR);
        message.message(15, &status);
    }
    message
}

fn event(event: &TraceEvent, time: u64) -> Message {
    let mut message = Message::default();
    message.fixed64(1, time);
    message.bytes(2, event.name.as_bytes());
    for (name, value) in &event.attributes {
        message.message(3, &attribute(name, value));
    }
    message
}

/// A `KeyValue`.
fn attribute(name: &str, value: &TraceValue) -> Message {
    let mut any = Message::default();
    match value {
        TraceValue::Text(text) => any.bytes(1, text.as_bytes()),
        // Of two's complement, as protobuf's `int64` is. A value of a oneof is there, also if it is 0.
        TraceValue::Integer(integer) => any.present_varint(3, integer.cast_unsigned()),
    }
    let mut message = Message::default();
    message.bytes(1, name.as_bytes());
    message.message(2, &any);
    message
}

/// A message in protobuf's encoding.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            // The low seven bits.
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn tag(&mut self, field: u64, wire: u64) {
        self.number(field << 3 | wire);
    }

    fn varint(&mut self, field: u64, value: u64) {
        if value > 0 {
            self.present_varint(field, value);
        }
    }

    fn present_varint(&mut self, field: u64, value: u64) {
        self.tag(field, 0);
        self.number(value);
    }

    fn fixed64(&mut self, field: u64, value: u64) {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, 2);
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_of_protobuf_s_form() {
        let mut message = Message::default();
        message.varint(1, 150);
        message.varint(2, 0);
        message.bytes(2, b"testing");
        message.fixed64(3, 1);
        message.present_varint(3, (-1_i64).cast_unsigned());
        let mut expected = vec![0x08, 0x96, 0x01, 0x12, 0x07];
        expected.extend(b"testing");
        expected.extend([0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0x18]);
        expected.extend([0xff; 9]);
        expected.push(0x01);
        assert_eq!(message.0, expected);
    }
}
