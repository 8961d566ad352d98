use super::*;
use crate::testing;

#[test]
fn errors_of_one_connection_do_not_make_the_listener_wait() {
    assert!(is_about_one_connection(
        &io::ErrorKind::ConnectionAborted.into()
    ));
    assert!(!is_about_one_connection(&io::Error::from_raw_os_error(24)));
}

#[test]
fn responses_that_nobody_takes_close_the_connection_with_most_of_them() {
    let limits = Limits {
        unsent: 1000,
        ..Limits::default()
    };
    let families = testing::shared(testing::table(&[])).families;
    let connections = Arc::new(Connections::new(limits, families));
    let unsent = connections.held.of(Kind::Unsent);
    let tokens: Vec<CancellationToken> = (0..3).map(|_| CancellationToken::new()).collect();
    let (outlets, mut queues): (Vec<Outlet>, Vec<mpsc::Receiver<Box<Outgoing>>>) = tokens
        .iter()
        .zip(0..)
        .map(|(token, n)| {
            let held = Arc::<Held>::default();
            let client = [192, 0, 2, n].into();
            connections.add(client, Arc::clone(&held), token.clone(), now());
            let (responses, queue) = mpsc::channel(10);
            let connections = Arc::clone(&connections);
            let outlet = Outlet {
                responses,
                held,
                connections,
            };
            (outlet, queue)
        })
        .unzip();
    let permits = Arc::new(Semaphore::new(100));
    let permit = || Arc::clone(&permits).try_acquire_owned().unwrap();
    let closed = || -> Vec<bool> {
        let states = tokens.iter().map(CancellationToken::is_cancelled);
        states.collect()
    };
    for (outlet, octets) in [(0, 300), (1, 500), (2, 200)] {
        outlets[outlet].put(&vec![0; octets - 2], permit());
    }
    assert_eq!(closed(), [false; 3], "as much as may wait");
    outlets[2].put(&[], permit());
    assert_eq!(closed(), [false, true, false]);
    // It is counted once: what waits for it is as good as gone.
    outlets[2].put(&[0; 398], permit());
    assert_eq!(closed(), [false, true, false]);
    assert_eq!(unsent.load(Ordering::Relaxed), 1402);
    assert_eq!(connections.families.evicted.get(), 1);

    // What is written or dropped is counted no more.
    drop(queues[2].try_recv().unwrap());
    drop(queues.remove(1));
    assert_eq!(unsent.load(Ordering::Relaxed), 702);
    outlets[0].put(&[0; 296], permit());
    assert_eq!(closed(), [false, true, false]);
    outlets[0].put(&[], permit());
    assert_eq!(closed(), [true, true, false]);
}
