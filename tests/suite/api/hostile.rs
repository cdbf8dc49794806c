//! What an engine, an image or an application says may hold anything: on the wire and on the terminal it is harmless
//! and of bounded length.

use std::process::{Command, Output};

use phoenixd::reconcile::WaitingOn;

use super::desk::{Desk, ready};

/// ANSI, a reversed name, a C1 sequence, a line of its own, and a megabyte of it.
fn hostile() -> String {
    "no\u{1b}[31m\u{202e}gpj.exe\u{2066}\u{9b}2J\r\nforged line\u{7}".repeat(30_000)
}

fn controls(text: &str) -> String {
    let hostile = |char: &char| {
        (char.is_control() && *char != '\n')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(hostile).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_harmless_and_short_on_the_wire_and_in_ps() {
    let desk = Desk::new();
    desk.change(|snapshot| {
        let mut waiting = ready("web", 1);
        waiting.waiting_on = Some(WaitingOn::Engine { error: hostile() });
        snapshot.status.replicas = vec![waiting];
        snapshot.status.engine_error = Some(hostile());
        snapshot.status.journal_error = Some(hostile());
        for service in snapshot.status.services.values_mut() {
            service.last_failure = Some(hostile());
            service.waiting_on = Some(WaitingOn::Engine { error: hostile() });
        }
    });
    let answer = desk.raw("GET", "/v1/status", "").await;
    assert_eq!(controls(&answer), "");
    assert!(answer.len() < 256 * 1024, "{}", answer.len());

    let state = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(desk.socket().parent().unwrap(), state.path().join("shop")).unwrap();
    for arguments in [vec!["ps"], vec!["ps", "--format", "json"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenixd"));
        command
            .args(&arguments)
            .args(["-p", "shop"])
            .env_clear()
            .env("PHOENIXD_STATE_DIR", state.path());
        let Output {
            status,
            stdout,
            stderr,
        } = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let (stdout, stderr) = (
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        );
        assert!(status.success(), "{stderr}");
        assert_eq!(controls(&stdout) + &controls(&stderr), "", "{arguments:?}");
        assert!(stdout.len() + stderr.len() < 64 * 1024);
        assert!(!stdout.contains("\nforged") && !stderr.contains("\nforged"));
        assert!(
            stderr.contains("warning: the journal cannot be written"),
            "{stderr}"
        );
    }
}
