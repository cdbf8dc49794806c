//! What the edge takes out of a request's and an answer's fields, and what it adds.
//!
//! Pure. The rules are those of RFC 9110 (7.6.1, what belongs to one connection), RFC 9112 (3.2 Host, 6.1
//! Transfer-Encoding) and RFC 7239 (Forwarded).

use std::net::{IpAddr, SocketAddr};

use hyper::Method;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Uri};

/// Fields that belong to one connection whether `Connection` names them or not.
const OF_ONE_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Who the client is, as it says itself: never believed, replaced by what the edge has seen.
const CLAIMS: [HeaderName; 9] = [
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_PROTO,
    FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-real-ip"),
];

/// The client of a connection, as its requests say it.
#[derive(Debug)]
pub(super) struct Client {
    /// For `X-Forwarded-For`.
    address: HeaderValue,
    /// The first part of `Forwarded`.
    node: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        let ip = address.ip().to_canonical();
        let node = match ip {
            IpAddr::V4(ip) => format!("for={ip}"),
            IpAddr::V6(ip) => format!("for=\"[{ip}]\""),
        };
        // An address is always a field's value.
        let unknown = |_| HeaderValue::from_static("unknown");
        Self {
            address: HeaderValue::try_from(ip.to_string()).unwrap_or_else(unknown),
            node,
        }
    }
}

/// Of the target and the fields of a request, as HTTP/1.1 writes them.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Why a request is answered by the edge itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// No host, more than one, or one that is none.
    Host,
    /// Its length is not certain.
    Framing,
    /// A coding of the transfer that the edge does not know.
    Coding,
    /// `CONNECT`: the edge is no forward proxy.
    Connect,
    /// Its head is longer than [`HEAD_BYTES_MAX`].
    Large,
}

/// Makes a client's request one for a replica: the way it is asked, the host, and who asks. Answers the protocol that the
/// client wants to change to, where it wants to.
pub(super) fn prepare(parts: &mut Parts, client: &Client) -> Result<Option<HeaderValue>, Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    check_size(parts)?;
    check_framing(parts)?;
    let host = host_of(parts)?;
    let upgrade = wanted_upgrade(parts);
    remove_of_one_connection(&mut parts.headers);
    if parts.headers.keys().any(|name| CLAIMS.contains(name)) {
        for claim in &CLAIMS {
            parts.headers.remove(claim);
        }
    }
    // The edge itself asks for the body, once a replica has taken the request.
    parts.headers.remove(EXPECT);
    if let Some(protocol) = &upgrade {
        let asked = HeaderValue::from_static("upgrade");
        parts.headers.insert(CONNECTION, asked);
        parts.headers.insert(UPGRADE, protocol.clone());
    }
    say_who(&mut parts.headers, client, &host);
    parts.headers.insert(HOST, host);
    let path = parts.uri.path_and_query().cloned();
    parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    parts.version = hyper::Version::HTTP_11;
    Ok(upgrade)
}

/// An answer's fields without those of the replica's connection. Answers the protocol that it changes to.
pub(super) fn clean_answer(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE).cloned();
    remove_of_one_connection(headers);
    protocol
}

/// hyper reads on while its buffer is not full, which may then hold twice as much.
fn check_size(parts: &Parts) -> Result<(), Refusal> {
    let path = parts.uri.path_and_query();
    let line = path.map_or(0, |path| path.as_str().len());
    // Each with a colon, a space and the end of its line.
    let fields = (parts.headers.iter()).map(|(name, value)| name.as_str().len() + value.len() + 4);
    if line + fields.sum::<usize>() > HEAD_BYTES_MAX {
        return Err(Refusal::Large);
    }
    Ok(())
}

/// Two readers must not differ in where a request ends. hyper reads `Content-Length` strictly, and goes by
/// `Transfer-Encoding` where both are there; whoever sends both is up to something.
fn check_framing(parts: &Parts) -> Result<(), Refusal> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if codings.next().is_some() || parts.headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::Framing);
    }
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Refusal::Coding);
    }
    Ok(())
}

/// The one host that is asked for: of the target where that names one (RFC 9112, 3.2.2), else of `Host`.
fn host_of(parts: &Parts) -> Result<HeaderValue, Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let written = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::Host);
    }
    if let Some(authority) = parts.uri.authority() {
        // Never with a name and a password.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        return HeaderValue::from_str(host).map_err(|_| Refusal::Host);
    }
    match written {
        // An empty one is allowed where the target has no authority.
        Some(host) if host.is_empty() || Authority::try_from(host.as_bytes()).is_ok() => {
            Ok(host.clone())
        }
        // RFC 9112 asks for it from 1.1 on.
        None if parts.version < hyper::Version::HTTP_11 => Ok(HeaderValue::from_static("")),
        Some(_) | None => Err(Refusal::Host),
    }
}

/// The protocol of `Upgrade`, if `Connection` asks for it. Not `h2c`: the edge would let a request through that it cannot
/// see ("h2c smuggling").
fn wanted_upgrade(parts: &Parts) -> Option<HeaderValue> {
    let is_asked = tokens(&parts.headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let protocol = parts.headers.get(UPGRADE)?;
    let is_h2 = (protocol.to_str().unwrap_or("h2c").split(','))
        .any(|name| name.trim().to_ascii_lowercase().starts_with("h2"));
    (is_asked && !is_h2 && parts.version == hyper::Version::HTTP_11).then(|| protocol.clone())
}

/// The names in `Connection`.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    (headers.get_all(CONNECTION).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

fn remove_of_one_connection(headers: &mut HeaderMap) {
    // Most have none of them.
    if !headers.keys().any(|name| OF_ONE_CONNECTION.contains(name)) {
        return;
    }
    // `TE: trailers` is about the whole way: it is what lets a replica send trailers (gRPC needs it).
    let wants_trailers = (headers.get_all(TE).iter())
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("trailers"));
    let named: Vec<HeaderName> = tokens(headers)
        // The first is removed as a name, too, and the second is none.
        .filter(|token| {
            !["keep-alive", "close"]
                .iter()
                .any(|it| token.eq_ignore_ascii_case(it))
        })
        .filter_map(|token| token.parse().ok())
        // What says where a message ends and who is asked cannot be taken away by naming it.
        .filter(|name| ![HOST, CONTENT_LENGTH].contains(name))
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for name in &OF_ONE_CONNECTION {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // `Trailer` stays: it announces what follows the body, which is passed on, too.
}

fn say_who(headers: &mut HeaderMap, client: &Client, host: &HeaderValue) {
    const HOST_BEGINS: &str = ";host=\"";
    const ENDS: &str = ";proto=http";
    let length = client.node.len() + HOST_BEGINS.len() + host.len() + 1 + ENDS.len();
    let mut forwarded = String::with_capacity(length);
    forwarded.push_str(&client.node);
    // A host that was taken for one has no quote and no backslash.
    if let Ok(host) = host.to_str()
        && !host.is_empty()
    {
        for part in [HOST_BEGINS, host, "\""] {
            forwarded.push_str(part);
        }
    }
    forwarded.push_str(ENDS);
    if let Ok(forwarded) = HeaderValue::try_from(forwarded) {
        headers.insert(FORWARDED, forwarded);
    }
    headers.insert(FORWARDED_FOR, client.address.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    if !host.is_empty() {
        headers.insert(FORWARDED_HOST, host.clone());
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn client(address: &str) -> Client {
        Client::new(address.parse().unwrap())
    }

    fn request(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn prepared(uri: &str, fields: &[(&str, &str)]) -> Result<String, Refusal> {
        let mut parts = request(uri, fields);
        let upgrade = prepare(&mut parts, &client("192.0.2.7:4711"))?;
        let mut lines: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines.insert(0, parts.uri.to_string());
        lines.extend(upgrade.map(|protocol| format!("-> {}", protocol.to_str().unwrap())));
        Ok(lines.join("\n"))
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there_and_claims_are_replaced() {
        let fields = [
            ("host", "shop.example:8080"),
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers, deflate"),
            ("expect", "100-continue"),
            ("upgrade", "websocket"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("traceparent", "00-1-2-01"),
        ];
        insta::assert_snapshot!(prepared("/a?b=c", &fields).unwrap(), @r#"
        /a?b=c
        forwarded: for=192.0.2.7;host="shop.example:8080";proto=http
        host: shop.example:8080
        te: trailers
        traceparent: 00-1-2-01
        x-forwarded-for: 192.0.2.7
        x-forwarded-host: shop.example:8080
        x-forwarded-proto: http
        "#);
    }

    #[test]
    fn an_upgrade_is_passed_on_but_never_to_h2c() {
        let ask = |protocol: &str| {
            let fields = [
                ("host", "a"),
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", protocol),
            ];
            let text = prepared("/", &fields).unwrap();
            (text.contains("connection: upgrade"), text.contains("-> "))
        };
        assert_eq!(ask("websocket"), (true, true));
        assert_eq!(ask("h2c"), (false, false));
        assert_eq!(ask("websocket, H2C"), (false, false));
    }

    #[test]
    fn a_host_that_is_not_certain_is_refused() {
        assert_eq!(prepared("/", &[]), Err(Refusal::Host));
        assert_eq!(
            prepared("/", &[("host", "a"), ("host", "b")]),
            Err(Refusal::Host)
        );
        assert_eq!(prepared("/", &[("host", "a b")]), Err(Refusal::Host));
        assert_eq!(prepared("/", &[("host", "a\"b")]), Err(Refusal::Host));
        // The target's own goes before the field.
        let text = prepared("http://user@real.example/x", &[("host", "other")]).unwrap();
        assert!(text.contains("\nhost: real.example\n"), "{text}");
        assert!(text.starts_with("/x\n"), "{text}");
    }

    #[test]
    fn a_length_that_is_not_certain_is_refused() {
        let with = |fields: &[(&str, &str)]| {
            let mut all = vec![("host", "a")];
            all.extend(fields);
            prepared("/", &all)
        };
        let chunked = ("transfer-encoding", "chunked");
        assert!(with(&[chunked]).is_ok());
        assert_eq!(with(&[chunked, chunked]), Err(Refusal::Framing));
        assert_eq!(
            with(&[chunked, ("content-length", "3")]),
            Err(Refusal::Framing)
        );
        let gzip = ("transfer-encoding", "gzip, chunked");
        assert_eq!(with(&[gzip]), Err(Refusal::Coding));
    }

    #[test]
    fn an_ipv6_client_is_written_as_each_field_wants_it() {
        let mut parts = request("/", &[("host", "a")]);
        prepare(&mut parts, &client("[2001:db8::7]:1")).unwrap();
        let field = |name: &str| parts.headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(field("x-forwarded-for"), "2001:db8::7");
        assert!(field("forwarded").starts_with("for=\"[2001:db8::7]\";"));
        let mut parts = request("/", &[("host", "a")]);
        prepare(&mut parts, &client("[::ffff:192.0.2.1]:1")).unwrap();
        let field = |name: &str| parts.headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(field("x-forwarded-for"), "192.0.2.1");
    }
}
