//! What happens beside a request, and hardly ever: it is looked at when it was woken, not whenever the request moves.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::FuturesUnordered;

/// A future that costs next to nothing to ask while it waits. Pending for ever once it has ended.
pub(super) struct Aside<F>(FuturesUnordered<F>);

impl<F: Future> Aside<F> {
    pub(super) fn new(future: F) -> Self {
        Self(FuturesUnordered::from_iter([future]))
    }
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match Pin::new(&mut self.0).poll_next(context) {
            Poll::Ready(Some(output)) => Poll::Ready(output),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::task::{noop_waker_ref, waker};
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn it_is_looked_at_only_when_it_was_woken() {
        let (looks, token) = (AtomicUsize::new(0), CancellationToken::new());
        let mut cancelled = Box::pin(token.cancelled());
        let counted = std::future::poll_fn(|context| {
            looks.fetch_add(1, Ordering::Relaxed);
            cancelled.as_mut().poll(context)
        });
        let mut aside = Aside::new(counted);
        let mut context = Context::from_waker(noop_waker_ref());
        for _ in 0..3 {
            assert!(Pin::new(&mut aside).poll(&mut context).is_pending());
        }
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        token.cancel();
        assert!(Pin::new(&mut aside).poll(&mut context).is_ready());
        assert!(Pin::new(&mut aside).poll(&mut context).is_pending());
    }

    #[test]
    fn whoever_asked_last_is_woken() {
        struct Woken(AtomicUsize);
        impl futures::task::ArcWake for Woken {
            fn wake_by_ref(woken: &std::sync::Arc<Self>) {
                woken.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let token = CancellationToken::new();
        let mut aside = Aside::new(Box::pin(token.cancelled()));
        let woken = std::sync::Arc::new(Woken(AtomicUsize::new(0)));
        let mut nobody = Context::from_waker(noop_waker_ref());
        assert!(Pin::new(&mut aside).poll(&mut nobody).is_pending());
        let waker = waker(std::sync::Arc::clone(&woken));
        let mut somebody = Context::from_waker(&waker);
        assert!(Pin::new(&mut aside).poll(&mut somebody).is_pending());
        token.cancel();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}
