//! Pages of listings, as S3 has them in XML.

use quick_xml::Reader;
use quick_xml::events::Event;

/// A page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The names of objects.
    pub(super) keys: Vec<String>,
    /// The place of the next page.
    pub(super) next: Option<String>,
}

impl Page {
    /// Parses the answer of a service; `None` where it is no listing, or not whole.
    pub(super) fn parse(xml: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_reader(xml);
        let (mut page, mut path, mut text) = (Self::default(), Vec::new(), String::new());
        let mut is_truncated = false;
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    if path.len() > 8 {
                        return None;
                    }
                    path.push(start.local_name().as_ref().to_vec());
                    text.clear();
                }
                Event::Text(part) => text.push_str(&part.decode().ok()?),
                Event::GeneralRef(reference) => {
                    let name = reference.decode().ok()?;
                    let escaped = quick_xml::escape::resolve_xml_entity(&name).map(str::to_owned);
                    let character = reference.resolve_char_ref().ok()?.map(String::from);
                    text.push_str(&escaped.or(character)?);
                }
                Event::CData(part) => text.push_str(&part.decode().ok()?),
                Event::End(_) => {
                    let names: Vec<_> = path.iter().map(Vec::as_slice).collect();
                    match names.as_slice() {
                        [b"ListBucketResult", b"Contents", b"Key"] => page.keys.push(text.clone()),
                        [b"ListBucketResult", b"NextContinuationToken"] => {
                            page.next = Some(text.clone());
                        }
                        [b"ListBucketResult", b"IsTruncated"] => is_truncated = text == "true",
                        _ => {}
                    }
                    if path.len() == 1 && names != [b"ListBucketResult".as_slice()] {
                        return None;
                    }
                    path.pop();
                    text.clear();
                    if path.is_empty() {
                        // A page that is not the last names the next one: an end must not be taken for one.
                        return (is_truncated == page.next.is_some()).then_some(page);
                    }
                }
                Event::DocType(_) | Event::Eof => return None,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_or_refused() {
        let page = |xml: &str| Page::parse(xml.as_bytes());
        let one = page(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>true\
             </IsTruncated><Contents><Key>a/b&amp;&#x41;</Key><Size>1</Size></Contents><Contents><Key>c</Key>\
             </Contents><NextContinuationToken>a&quot;b</NextContinuationToken></ListBucketResult>",
        );
        let keys = vec!["a/b&A".to_owned(), "c".to_owned()];
        assert_eq!(one, Some(Page { keys, next: Some("a\"b".to_owned()) }));
        for xml in [
            "",
            "<Error><Code>NoSuchBucket</Code></Error>",
            "<ListBucketResult><Contents><Key>a</Key>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<!DOCTYPE x [<!ENTITY y \"z\">]><ListBucketResult></ListBucketResult>",
            "<ListBucketResult><Contents><Key>&y;</Key></Contents></ListBucketResult>",
            "{\"keys\": []}",
        ] {
            assert_eq!(page(xml), None, "{xml}");
        }
    }
}
