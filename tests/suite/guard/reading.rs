//! Request lines, routes and bodies, as they are read.

use phoenixd::guard::{Json, Odd, Route, Target, find_route};

#[test]
fn a_request_line_is_read_in_one_way_or_not_at_all() {
    for (uri, expected) in [
        ("/", Ok(vec![])),
        ("/_ping", Ok(vec!["_ping"])),
        ("/v1.41/containers/json", Ok(vec!["containers", "json"])),
        ("/v1.24/info", Ok(vec!["info"])),
        (
            "/containers/a%2Db/json",
            Ok(vec!["containers", "a-b", "json"]),
        ),
        (
            "/images/a%2Fb:1/json",
            Ok(vec!["images", "a", "b:1", "json"]),
        ),
        ("/networks/", Ok(vec!["networks"])),
        ("/volumes/v1.5", Ok(vec!["volumes", "v1.5"])),
        ("/v1.23/info", Err(Odd::OldVersion)),
        ("/v2.0/info", Err(Odd::OddVersion)),
        ("/v1/info", Err(Odd::OddVersion)),
        ("/v.1.41/info", Err(Odd::OddVersion)),
        ("/v1.99999999999/info", Err(Odd::OddVersion)),
        ("info", Err(Odd::NotAPath)),
        ("http://x/info", Err(Odd::NotAPath)),
        ("/a%", Err(Odd::BrokenEncoding)),
        ("/a%4", Err(Odd::BrokenEncoding)),
        ("/a%25b", Err(Odd::EncodedTwice)),
        ("/a b", Err(Odd::OddCharacter)),
        ("/\u{e9}", Err(Odd::OddCharacter)),
        ("/a/", Err(Odd::NotPlain)),
        ("/a//b", Err(Odd::NotPlain)),
        ("/a/..", Err(Odd::NotPlain)),
        ("/a?b;c", Err(Odd::Semicolon)),
    ] {
        let found = Target::parse(uri).map(|target| target.segments);
        let expected = expected
            .map(|segments: Vec<&str>| segments.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(found, expected, "{uri}");
    }
}

#[test]
fn a_query_is_decoded_and_a_key_that_is_given_twice_is_told() {
    let target = Target::parse("/x?a=1%2B1+b&%62=2&c&d=&a%3D=3&e=1&e=1").unwrap();
    assert_eq!(target.query.one("a"), Ok("1+1 b"));
    assert_eq!(target.query.one("b"), Ok("2"));
    assert_eq!(target.query.one("c"), Ok(""));
    assert_eq!(target.query.one("nowhere"), Ok(""));
    assert_eq!(target.query.one("a="), Ok("3"));
    assert_eq!(target.query.one("e"), Err(Odd::TwiceInQuery));
}

#[test]
fn a_route_is_found_by_its_whole_path_and_its_method() {
    let find = |method: &str, uri: &str| {
        let matched = find_route(method, &Target::parse(uri).unwrap())?;
        Some((matched.route, matched.name))
    };
    let some = |route, name: &str| Some((route, name.to_owned()));
    assert_eq!(
        find("POST", "/containers/create"),
        some(Route::ContainerCreate, "")
    );
    assert_eq!(
        find("POST", "/containers/a/exec"),
        some(Route::ExecCreate, "a")
    );
    assert_eq!(
        find("POST", "/containers/create/exec"),
        some(Route::ExecCreate, "create")
    );
    assert_eq!(
        find("DELETE", "/images/a/b/c:1"),
        some(Route::ImageRemove, "a/b/c:1")
    );
    assert_eq!(
        find("POST", "/images/a/push/tag"),
        some(Route::ImageTag, "a/push")
    );
    assert_eq!(
        find("DELETE", "/containers/a/checkpoints/b"),
        some(Route::ContainerDoor, "a")
    );
    for (method, uri) in [
        ("GET", "/"),
        ("GET", "/containers"),
        ("GET", "/containers/a"),
        ("GET", "/containers/a/exec"),
        ("POST", "/containers/a/b/exec"),
        ("DELETE", "/containers/a/b"),
        ("POST", "/containers/a/execs"),
        ("POST", "/images/tag"),
        ("PUT", "/containers/create"),
        ("POST", "/exec/start"),
    ] {
        assert_eq!(find(method, uri), None, "{method} {uri}");
    }
}

#[test]
fn names_are_found_in_any_case_and_maps_of_the_user_keep_theirs() {
    let json =
        Json::parse(br#"{"HOSTCONFIG":{"pidMODE":"x"},"Labels":{"a":"1","A":"2"}}"#).unwrap();
    assert_eq!(json.field("HostConfig").field("PidMode").text(), Some("x"));
    assert_eq!(json.field("labels").pairs().map(<[_]>::len), Some(2));
    assert_eq!(json.field("nowhere"), &Json::Null);
    assert_eq!(Json::parse(b" \n"), Ok(Json::Null));
    for (body, why) in [
        (r#"{"a":1,"A":2}"#, "a name is given twice"),
        (r#"{"Labels":{"a":1,"a":2}}"#, "a name is given twice"),
        (r#"{"Labels":{"a":{"b":1,"B":2}}}"#, "a name is given twice"),
        ("{\"\u{17f}\":1}", "a name has characters beyond ASCII"),
        ("{} {}", "something follows the document"),
        ("{} x", "something follows the document"),
        (r#"{"a":"\ud800"}"#, "it is broken"),
        (r#"{"a":1e999}"#, "it is broken"),
        ("{'a':1}", "it is broken"),
    ] {
        assert_eq!(Json::parse(body.as_bytes()).unwrap_err().why, why, "{body}");
    }
}
