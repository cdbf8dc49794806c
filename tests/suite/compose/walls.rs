//! What a file asks for, after hardening: which exception it needs, and which default gives way.

use phoenixd::spec::{ContainerSpec, ImageFacts, ImageId, Resolved, resolve};

use super::{rendered, service};

/// A service of these lines, joined with an image that runs as somebody.
fn resolved(lines: &str) -> Result<Resolved, String> {
    let text = format!("services: {{ web: {{ image: nginx, {lines} }} }}");
    let image = ImageFacts {
        id: ImageId::new("sha256:0"),
        user: "101".to_owned(),
        exposed_tcp: [80].into(),
        has_healthcheck: false,
        has_command: true,
        volumes: Vec::new(),
    };
    let (resolved, diagnostics) = resolve(&service(&text), &image);
    resolved.ok_or_else(|| rendered(&diagnostics))
}

fn container(lines: &str) -> ContainerSpec {
    let lines = format!("{lines}, x-phoenix: {{}}");
    resolved(&lines).unwrap().container
}

#[test]
fn a_security_profile_of_one_s_own_needs_its_exception() {
    for (option, sent) in [
        (
            "seccomp=seccomp/own.json",
            "seccomp={\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\",\"write\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
        ),
        ("apparmor=my-profile", "apparmor=my-profile"),
        ("apparmor:unconfined-ish", "apparmor:unconfined-ish"),
        ("label=type:spc_t", "label=type:spc_t"),
        ("label:level:s0:c1,c2", "label:level:s0:c1,c2"),
    ] {
        let lines =
            |allow| format!("security_opt: ['{option}'], x-phoenix: {{ allow: [{allow}] }}");
        let refused = resolved(&lines("")).unwrap_err();
        assert!(
            refused.contains("error[not-allowed]"),
            "{option}: {refused}"
        );
        assert!(
            refused.contains("allow: [security_profile]"),
            "{option}: {refused}"
        );
        let allowed = resolved(&lines("security_profile")).unwrap();
        let expected = ["no-new-privileges:true", sent];
        assert_eq!(allowed.container.security_opt, expected, "{option}");
        assert!(allowed.policy.no_new_privs, "{option}");
    }
}

#[test]
fn no_exception_takes_a_wall_away() {
    for option in [
        "seccomp=unconfined",
        "seccomp:unconfined",
        "apparmor=unconfined",
        "systempaths=unconfined",
        "label=disable",
    ] {
        let lines =
            format!("security_opt: ['{option}'], x-phoenix: {{ allow: [security_profile] }}");
        let refused = resolved(&lines).unwrap_err();
        assert!(refused.contains("takes a wall away"), "{option}: {refused}");
    }
}

#[test]
fn the_profiles_of_the_engine_need_no_exception() {
    let options = "security_opt: ['seccomp=builtin', 'apparmor=docker-default']";
    let kept = container(options).security_opt;
    let expected = [
        "no-new-privileges:true",
        "seccomp=builtin",
        "apparmor=docker-default",
    ];
    assert_eq!(kept, expected);
}

#[test]
fn privileges_that_may_be_gained_are_asked_for_in_so_many_words() {
    let lines = "security_opt: ['no-new-privileges=false'], x-phoenix: { allow: [new_privileges] }";
    let allowed = resolved(lines).unwrap();
    // The engine's own default may be `true`.
    assert_eq!(allowed.container.security_opt, ["no-new-privileges:false"]);
}

#[test]
fn a_default_limit_gives_way_to_what_the_file_says_beside_it() {
    let limits = |lines| {
        let container = container(lines);
        let gib = |bytes: Option<i64>| bytes.map(|bytes| bytes >> 20);
        (
            gib(container.memory_bytes),
            container.nano_cpus,
            container.cpu_quota,
        )
    };
    let cpu = 1_000_000_000;
    assert_eq!(limits("init: true"), (Some(512), Some(cpu), None));
    // The engine refuses a reservation above the limit, and a period together with `cpus`.
    assert_eq!(limits("mem_reservation: 1g"), (Some(1024), Some(cpu), None));
    assert_eq!(limits("mem_reservation: 1m"), (Some(512), Some(cpu), None));
    assert_eq!(limits("cpu_period: 50000"), (Some(512), None, Some(50_000)));
    assert_eq!(limits("cpu_quota: 25000"), (Some(512), None, Some(25_000)));
    assert_eq!(limits("cpus: 0.5"), (Some(512), Some(cpu / 2), None));
}

#[test]
fn a_number_of_cpus_is_rounded_as_docker_compose_rounds_it() {
    // Seen in the containers that docker compose 2.40.3 made.
    for (written, nano) in [
        ("0.07", 70_000_000),
        ("0.333", 333_000_000),
        ("1.5", 1_500_000_000),
    ] {
        let cpus = container(&format!("cpus: {written}")).nano_cpus;
        assert_eq!(cpus, Some(nano), "{written}");
    }
}

#[test]
fn the_platform_of_the_environment_is_that_of_a_service_without_one() {
    let mut input = super::input(
        "compose.yaml",
        "services: { web: { image: nginx, x-phoenix: }, own: { image: nginx, platform: linux/arm64, x-phoenix: } }",
    );
    let platform = (
        "DOCKER_DEFAULT_PLATFORM".to_owned(),
        "linux/amd64".to_owned(),
    );
    input.environment.extend([platform]);
    let (project, _) = phoenixd::compose::load(&input, &super::Host);
    let services = project.unwrap().services.into_values();
    let platforms: Vec<_> = services
        .map(|service| service.container.platform.unwrap())
        .collect();
    assert_eq!(platforms, ["linux/arm64", "linux/amd64"]);
}
