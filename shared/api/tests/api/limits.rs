//! Limits of a request's parts, checked before its content is parsed.

use api::Service;
use bytes::Bytes;
use engine::Engine;
use http::Request;
use memory::Memory;
use protocol::limits;
use protocol::wire::ErrorInfo;

async fn refused(request: http::request::Builder) -> (u16, ErrorInfo) {
    let service = Service::new(Engine::new(Memory::new()));
    let response = service.answer(request.body(Bytes::new()).expect("a request")).await;
    let body: protocol::wire::ErrorBody = serde_json::from_slice(response.body()).expect("an error's body");
    (response.status().as_u16(), body.error)
}

#[tokio::test]
async fn path_and_query_over_the_limit_are_refused_with_their_size() {
    let url = |size: usize| format!("/api/nothing?{}", "q".repeat(size - "/api/nothing?".len()));
    let (status, error) = refused(Request::get(url(limits::URL))).await;
    assert_eq!((status, error.code.as_str()), (404, "no_such_route"));
    let (status, error) = refused(Request::get(url(limits::URL + 1))).await;
    assert_eq!((status, error.code.as_str()), (414, "url_too_long"));
    assert!(error.message.contains("8193") && error.message.contains("8192"), "{error:?}");
}

#[tokio::test]
async fn header_over_the_limit_is_refused_by_name_with_its_size() {
    let submit = |kind: String| Request::post("/api/workflows").header("content-type", kind);
    let kind = |size: usize| format!("application/json; x={}", "x".repeat(size - "application/json; x=".len()));
    let (status, error) = refused(submit(kind(limits::HEADER))).await;
    assert_eq!((status, error.code.as_str()), (422, "invalid_definition"));
    let (status, error) = refused(submit(kind(limits::HEADER + 1))).await;
    assert_eq!((status, error.code.as_str()), (400, "invalid_header"));
    assert!(["content-type", "8193", "8192"].iter().all(|part| error.message.contains(part)), "{error:?}");
}

#[tokio::test]
async fn long_message_is_cut() {
    let path = format!("/api/{}", "n".repeat(limits::URL - 5));
    let (status, error) = refused(Request::get(path)).await;
    assert_eq!(status, 404);
    assert!(error.message.len() <= limits::MESSAGE + '…'.len_utf8() && error.message.ends_with('…'), "{error:?}");
}
