use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::tests::messages;

proptest! {
    #[test]
    fn no_messages_do_harm(
        messages in vec((messages(), any::<prop::sample::Index>(), any::<Option<u8>>(), 0..2_000u64), 1..40),
    ) {
        let mut bench = Bench::new();
        for node in 0..3u8 {
            bench.joined(&id(&format!("n{node}"), 1), 2 + node);
        }
        for (message, at, octet, wait) in messages {
            let mut octets = message.encode().to_vec();
            if let Some(octet) = octet {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
            bench.act(|ledger, now| ledger.receive(&octets, now));
            let actions = bench.pass(wait);
            prop_assert!(actions.sends.len() < 500 && actions.gossip.len() < 500);
        }
        // No more is known than there are members, and each is bounded.
        prop_assert!(bench.ledger.views(bench.now).len() <= 4);
    }

    #[test]
    fn no_octets_do_harm(kind in 0u8..8, octets in vec(any::<u8>(), 0..300)) {
        let mut bench = Bench::new();
        bench.with_a();
        let mut headed = vec![1, kind];
        headed.extend(&octets);
        bench.act(|ledger, now| ledger.receive(&headed, now));
        bench.act(|ledger, now| ledger.receive(&octets, now));
        prop_assert_eq!(bench.served(), ["a/7"]);
    }
}
