//! A webhook over TLS: its certificate must come from whom the operator trusts. `tls/` holds a certificate for this host
//! and that of its issuer, whose key nobody has any more.

use std::path::PathBuf;
use std::sync::Arc;

use phoenixd::journal::export::{Export, Words, start};
use phoenixd::journal::{FILE_NAME, Journal};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::record;

fn file(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/suite/journal/tls").join(name)
}

fn acceptor() -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(file("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// What a webhook on this host gets with that file of trusted certificates: a request, or the end of the handshake.
async fn received(ca: &str) -> (Option<String>, String) {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let sinks = format!("webhook:https://localhost:{port}/heads");
    let ca = file(ca);
    let words = Words {
        sinks: Some(&sinks),
        ca_file: ca.to_str(),
        ..Words::default()
    };
    let export = Export::read(&words).unwrap().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let exporter = start(journal.clone(), "shop", export).unwrap();
    journal.append(record(1)).durable().await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let got = match acceptor().accept(stream).await {
        Err(_) => None,
        Ok(mut stream) => {
            let mut buffer = vec![0; 4096];
            let mut text = String::new();
            while !text.contains("\"seq\":1") {
                let length = stream.read(&mut buffer).await.unwrap_or(0);
                if length == 0 {
                    return (None, String::new());
                }
                text.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            Some(text)
        }
    };
    if got.is_none() {
        let mut status = journal.status();
        while status.borrow_and_update().head.seq < 2 {
            status.changed().await.unwrap();
        }
    }
    // Nobody answers what comes now.
    drop(listener);
    journal.close().await.unwrap();
    exporter.ended().await;
    let text = std::fs::read_to_string(directory.path().join(FILE_NAME)).unwrap();
    (got, text)
}

#[test]
fn a_webhook_by_tls_is_trusted_by_its_issuer_and_nobody_else() {
    let (got, journal) = super::wait_all(received("ca.pem"));
    let got = got.unwrap();
    assert!(
        got.starts_with("POST /heads HTTP/1.1") && got.contains("\"head\":"),
        "{got}"
    );
    assert!(!journal.contains("not exported"), "{journal}");

    // Another one's word: it has not issued this certificate.
    let (got, journal) = super::wait_all(received("other.pem"));
    assert_eq!(got, None);
    assert!(journal.contains("a head is not exported"), "{journal}");
}
