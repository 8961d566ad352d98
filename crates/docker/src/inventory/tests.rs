use std::collections::BTreeSet;

use portolan_table::LayerId;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::endpoint::Endpoint;

#[test]
fn a_start_event_with_labels_is_served_at_once() {
    let mut world = World::new(|_| {});
    let actions = world.event(started("c1", "web.example"));
    assert_eq!(world.served(), ["c1 web.example."]);
    assert_eq!(actions.inspect, []);
    assert!(matches!(&actions.notices[..], [Notice::Started { .. }]));
    assert_eq!(
        (
            world.inventory.container_count(),
            world.inventory.name_count()
        ),
        (1, 1)
    );
}

#[test]
fn rows_outlive_their_container_by_the_linger_time() {
    for end in [Action::Die, Action::Stop, Action::Destroy] {
        let mut world = World::new(|_| {});
        world.event(started("c1", "web.example"));
        assert!(world.event(event("c1", end)).changes.is_empty());
        world.pass(4_999);
        assert_eq!(world.served(), ["c1 web.example."], "{end:?}");
        world.pass(1);
        assert!(world.served().is_empty(), "{end:?}");
        assert_eq!(
            (
                world.inventory.container_count(),
                world.inventory.name_count()
            ),
            (0, 0)
        );
        assert!(world.inventory.containers.is_empty() && world.inventory.alarms.is_empty());
    }
}

#[test]
fn a_restart_within_the_linger_time_changes_nothing() {
    let mut world = World::new(|_| {});
    world.event(started("c1", "web.example"));
    for action in [Action::Kill, Action::Die, Action::Stop] {
        world.event(event("c1", action));
        world.pass(1_000);
    }
    let start = world.event(started("c1", "web.example"));
    let restart = world.event(event("c1", Action::Restart));
    assert!(start.changes.is_empty() && start.notices.is_empty() && !restart.relist);
    world.pass(60_000);
    assert_eq!(world.served(), ["c1 web.example."]);
}

#[test]
fn a_second_death_does_not_prolong_the_linger_time() {
    let mut world = World::new(|_| {});
    world.event(started("c1", "web.example"));
    world.event(event("c1", Action::Die));
    world.pass(4_000);
    world.event(event("c1", Action::Destroy));
    world.pass(1_000);
    assert!(world.served().is_empty());
}

#[test]
fn without_linger_time_rows_go_at_once() {
    let mut world = World::new(|config| config.linger = Duration::ZERO);
    world.event(started("c1", "web.example"));
    world.event(event("c1", Action::Die));
    assert!(world.served().is_empty());
}

#[test]
fn containers_that_share_a_name_are_independent() {
    let mut world = World::new(|_| {});
    world.event(started("c1", "web.example"));
    world.event(started("c2", "web.example"));
    world.event(event("c1", Action::Die));
    world.pass(5_000);
    assert_eq!(world.served(), ["c2 web.example."]);
}

#[test]
fn paused_containers_stay() {
    let mut world = World::new(|_| {});
    world.event(started("c1", "web.example"));
    world.event(event("c1", Action::Pause));
    world.list(&["c1"]);
    world.event(event("c1", Action::Unpause));
    world.pass(60_000);
    assert_eq!(world.served(), ["c1 web.example."]);
}

#[test]
fn a_container_that_is_unpaused_but_unknown_is_served() {
    let mut world = World::new(|_| {});
    let mut unpaused = started("c1", "web.example");
    unpaused.action = Action::Unpause;
    world.event(unpaused);
    assert_eq!(world.served(), ["c1 web.example."]);
}

#[test]
fn a_renamed_container_keeps_its_rows_in_every_batch() {
    let mut world = World::new(|_| {});
    world.event(started("c1", "web.example"));
    let mut renamed = event("c1", Action::Rename);
    renamed.name = Some("other".to_owned());
    let actions = world.event(renamed);
    assert_eq!(actions.changes.len(), 2);
    assert_eq!(world.served(), ["c1 web.example."]);
    world.event(event("c1", Action::Die));
    world.pass(5_000);
    assert!(world.table.is_empty());
}

#[test]
fn an_event_without_labels_leads_to_an_inspection() {
    let mut world = World::new(|_| {});
    let ticket = world.event(event("c1", Action::Start)).inspect.remove(0);
    assert!(world.served().is_empty());
    world.inspected(&ticket, Inspected::Found(observed("c1", "web.example")));
    assert_eq!(world.served(), ["c1 web.example."]);
    let again = world.event(event("c1", Action::Start));
    assert_eq!(again.inspect, []);
}

#[test]
fn a_container_without_names_is_forgotten_after_its_inspection() {
    let mut world = World::new(|_| {});
    let ticket = world.event(event("c1", Action::Start)).inspect.remove(0);
    world.inspected(&ticket, Inspected::Found(observed("c1", "")));
    assert!(world.inventory.containers.is_empty());
}

#[test]
fn a_failed_inspection_is_tried_again_until_the_container_is_gone() {
    let mut world = World::new(|_| {});
    let mut tickets = world.event(event("c1", Action::Start)).inspect;
    for _ in 0..40 {
        world.inspected(&tickets[0], Inspected::Failed);
        assert!(world.pass(1).inspect.is_empty());
        let due = world.inventory.poll_timeout().unwrap();
        assert!(due - world.now <= MAX_INSPECT_RETRY);
        tickets = world.pass(10_000).inspect;
        assert_eq!(tickets.len(), 1);
    }
    world.inspected(&tickets[0], Inspected::Gone);
    assert!(world.inventory.containers.is_empty());
}

#[test]
fn an_inspection_of_a_former_life_is_not_taken_for_this_one() {
    let mut world = World::new(|_| {});
    let first = world.event(event("c1", Action::Start)).inspect.remove(0);
    world.event(event("c1", Action::Die));
    let second = world.event(event("c1", Action::Start)).inspect.remove(0);
    world.inspected(&first, Inspected::Gone);
    world.inspected(&second, Inspected::Found(observed("c1", "web.example")));
    assert_eq!(world.served(), ["c1 web.example."]);
}

#[test]
fn healthy_only_waits_for_the_health_check() {
    let mut world = World::new(|config| config.healthy_only = true);
    let ticket = world.event(started("c1", "web.example")).inspect.remove(0);
    assert!(world.served().is_empty());
    let mut starting = observed("c1", "web.example");
    starting.health = Health::Starting;
    world.inspected(&ticket, Inspected::Found(starting));
    assert!(world.served().is_empty());
    world.event(event("c1", Action::Health(Health::Healthy)));
    assert_eq!(world.served(), ["c1 web.example."]);
    world.event(event("c1", Action::Health(Health::Unhealthy)));
    world.pass(4_999);
    assert_eq!(world.served(), ["c1 web.example."]);
    world.pass(1);
    assert!(world.served().is_empty());
    world.event(event("c1", Action::Health(Health::Healthy)));
    assert_eq!(world.served(), ["c1 web.example."]);
}

#[test]
fn healthy_only_serves_a_container_without_a_check_when_it_runs() {
    let mut world = World::new(|config| config.healthy_only = true);
    let ticket = world.event(started("c1", "web.example")).inspect.remove(0);
    let mut unchecked = observed("c1", "web.example");
    unchecked.health = Health::Unchecked;
    world.inspected(&ticket, Inspected::Found(unchecked));
    assert_eq!(world.served(), ["c1 web.example."]);
    world.event(event("c1", Action::Die));
    assert!(world.event(started("c1", "web.example")).inspect.is_empty());
    assert_eq!(world.list(&["c1"]).inspect, []);
}

#[test]
fn a_late_health_event_does_not_bring_a_container_back() {
    let mut world = World::new(|_| {});
    world.event(started("c1", "web.example"));
    world.event(event("c1", Action::Die));
    world.event(event("c1", Action::Health(Health::Healthy)));
    world.event(event("c1", Action::Pause));
    world.pass(5_000);
    let mut late = started("c1", "web.example");
    late.action = Action::Health(Health::Healthy);
    world.event(late);
    assert!(world.served().is_empty());
}

#[test]
fn an_event_that_was_overtaken_is_ignored() {
    let mut world = World::new(|_| {});
    world.event(Event {
        time: 2_000_000_000,
        ..started("c1", "web.example")
    });
    world.event(Event {
        time: 1_000_000_000,
        ..event("c1", Action::Die)
    });
    world.pass(60_000);
    assert_eq!(world.served(), ["c1 web.example."]);
}

#[test]
fn an_engine_whose_clock_was_set_back_is_obeyed() {
    let mut world = World::new(|_| {});
    world.event(Event {
        time: 3_600_000_000_000,
        ..started("c1", "web.example")
    });
    world.event(Event {
        time: 1_000_000_000,
        ..event("c1", Action::Die)
    });
    world.pass(5_000);
    assert!(world.served().is_empty());
}

#[test]
fn a_restart_of_a_container_that_does_not_run_asks_for_a_list() {
    let mut world = World::new(|_| {});
    world.event(started("c1", "web.example"));
    world.event(event("c1", Action::Die));
    assert!(world.event(event("c1", Action::Restart)).relist);
    assert!(!world.event(event("c9", Action::Restart)).relist);
}

#[test]
fn a_list_adds_what_runs_and_lets_linger_what_is_gone() {
    let mut world = World::new(|_| {});
    world.list(&["c1", "c2"]);
    assert_eq!(world.served(), ["c1 c1.example.", "c2 c2.example."]);
    world.pass(60_000);
    world.list(&["c2", "c3"]);
    assert_eq!(world.served().len(), 3);
    world.pass(4_999);
    assert_eq!(world.served().len(), 3);
    world.pass(1);
    assert_eq!(world.served(), ["c2 c2.example.", "c3 c3.example."]);
}

#[test]
fn a_list_does_not_undo_what_events_said_meanwhile() {
    let mut world = World::new(|config| config.linger = Duration::ZERO);
    world.list(&["c1"]);
    world.inventory.begin_list();
    world.event(event("c1", Action::Die));
    world.event(event("c2", Action::Stop));
    world.event(started("c3", "c3.example"));
    let list = ["c1", "c2"].map(|id| observed(id, &format!("{id}.example")));
    let actions = world.inventory.handle_list(listing(&list), world.now);
    world.apply(&actions);
    assert_eq!(world.served(), ["c3 c3.example."]);
    world.list(&["c2"]);
    assert_eq!(world.served(), ["c2 c2.example."]);
}

#[test]
fn a_restarting_container_in_a_list_counts_as_stopped() {
    let mut world = World::new(|_| {});
    world.list(&["c1"]);
    world.inventory.begin_list();
    let mut restarting = observed("c1", "c1.example");
    restarting.running = false;
    let actions = world
        .inventory
        .handle_list(listing(&[restarting]), world.now);
    world.apply(&actions);
    world.pass(5_000);
    assert!(world.served().is_empty());
}

#[test]
fn bad_labels_are_reported_once_a_container() {
    let mut world = World::new(|_| {});
    let mut reports = 0;
    for _ in 0..3 {
        let actions = world.event(started("c1", "good.example b\u{7}d *"));
        reports += actions.notices.iter().filter(|n| is_report(n)).count();
        world.event(event("c1", Action::Die));
        world.pass(5_000);
        let actions = world.list(&[]);
        reports += actions.notices.iter().filter(|n| is_report(n)).count();
    }
    assert_eq!(reports, 1);
}

#[test]
fn what_was_asked_of_a_lost_connection_is_asked_again() {
    let mut world = World::new(|_| {});
    assert_eq!(world.event(event("c1", Action::Start)).inspect.len(), 1);
    world.inventory.forget_requests();
    assert_eq!(world.event(event("c1", Action::Start)).inspect.len(), 1);
}

#[test]
fn the_table_follows_any_events_and_ends_at_the_list() {
    proptest!(ProptestConfig::with_cases(2_000), |(
        steps in prop::collection::vec(step(), 0..60),
        live in prop::collection::btree_set(0_u8..6, 0..6),
        healthy_only in any::<bool>(),
    )| {
        let mut world = World::new(|config| config.healthy_only = healthy_only);
        // Who may still be served, by the reference: those seen running, until
        // the linger time after they were last seen so.
        for step in steps {
            world.step(step);
            world.check();
        }
        world.inventory.forget_requests();
        let before: BTreeSet<String> = world.served().into_iter().collect();
        let ids: Vec<String> = live.iter().map(|n| format!("c{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let actions = world.list(&ids);
        for ticket in &actions.inspect {
            let (id, name) = (&ticket.id, format!("{}.example", ticket.id));
            let mut found = observed(id, &name);
            found.health = Health::Unchecked;
            world.inspected(ticket, Inspected::Found(found));
        }
        world.check();
        let expected: BTreeSet<String> = ids.iter().map(|id| format!("{id} {id}.example.")).collect();
        let served: BTreeSet<String> = world.served().into_iter().collect();
        let healthy = |entry: &&String| !healthy_only || world.is_settled_healthy(entry);
        let due: BTreeSet<String> = expected.iter().filter(healthy).cloned().collect();
        prop_assert!(due.is_subset(&served), "{due:?} {served:?}");
        prop_assert!(served.is_subset(&before.union(&expected).cloned().collect()));
        world.pass(5_000);
        world.check();
        let served: BTreeSet<String> = world.served().into_iter().collect();
        prop_assert_eq!(served, due);
    });
}

/// The inventory, a table and a clock.
struct World {
    inventory: Inventory,
    table: BTreeMap<Source, BTreeSet<String>>,
    now: Instant,
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Event(u8, Action, bool),
    List(BTreeSet<u8>, Option<(u8, Action)>),
    Inspect(u8, bool),
    Pass(u64),
    Reconnect,
}

impl World {
    fn new(adjust: impl FnOnce(&mut Config)) -> Self {
        let endpoint = Endpoint::Unix("/run/docker.sock".into());
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        let mut config = Config::new(LayerId(1), Arc::from("m"), endpoint, addresses);
        adjust(&mut config);
        let now = tokio::time::Instant::now().into_std();
        Self {
            inventory: Inventory::new(Arc::new(config)),
            table: BTreeMap::new(),
            now,
        }
    }

    fn event(&mut self, event: Event) -> Actions {
        let actions = self.inventory.handle_event(event, self.now);
        self.apply(&actions);
        actions
    }

    fn inspected(&mut self, ticket: &Ticket, outcome: Inspected) -> Actions {
        let actions = self.inventory.handle_inspect(ticket, outcome, self.now);
        self.apply(&actions);
        actions
    }

    fn list(&mut self, ids: &[&str]) -> Actions {
        self.inventory.begin_list();
        let list: Vec<Observed> = ids
            .iter()
            .map(|id| observed(id, &format!("{id}.example")))
            .collect();
        let actions = self.inventory.handle_list(listing(&list), self.now);
        self.apply(&actions);
        actions
    }

    fn pass(&mut self, millis: u64) -> Actions {
        self.now += Duration::from_millis(millis);
        let actions = self.inventory.handle_timeout(self.now);
        self.apply(&actions);
        actions
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Event(n, action, labeled) => {
                let name = format!("c{n}.example");
                let event = event(&format!("c{n}"), action);
                let labels = if labeled {
                    labels(&name)
                } else {
                    Labels::new()
                };
                self.event(Event { labels, ..event });
            }
            Step::List(ids, meanwhile) => {
                self.inventory.begin_list();
                if let Some((n, action)) = meanwhile {
                    self.step(Step::Event(n, action, true));
                }
                let observe = |n| observed(&format!("c{n}"), &format!("c{n}.example"));
                let list: Vec<Observed> = ids.into_iter().map(observe).collect();
                let actions = self.inventory.handle_list(listing(&list), self.now);
                self.apply(&actions);
            }
            Step::Inspect(n, fails) => {
                let id: Id = Arc::from(format!("c{n}"));
                let inspection = self.inventory.containers.get(&id).map(|c| c.inspection);
                let Some(Inspection::InFlight { generation, .. }) = inspection else {
                    return;
                };
                let found = Inspected::Found(observed(&id, &format!("{id}.example")));
                let outcome = if fails { Inspected::Failed } else { found };
                self.inspected(&Ticket { id, generation }, outcome);
            }
            Step::Pass(millis) => {
                self.pass(millis);
            }
            Step::Reconnect => self.inventory.forget_requests(),
        }
    }

    fn apply(&mut self, actions: &Actions) {
        for change in &actions.changes {
            if change.rows.is_empty() {
                assert!(
                    self.table.remove(&change.source).is_some(),
                    "nothing to withdraw"
                );
            } else {
                let rows = change
                    .rows
                    .iter()
                    .map(|row| row.owner.to_string())
                    .collect();
                self.table.insert(change.source.clone(), rows);
            }
        }
    }

    /// What holds at any time.
    fn check(&self) {
        assert_eq!(self.inventory.container_count(), self.table.len());
        let names: usize = self.table.values().map(BTreeSet::len).sum();
        assert_eq!(self.inventory.name_count(), names);
        for (id, container) in &self.inventory.containers {
            let lingers = container
                .served
                .as_ref()
                .is_some_and(|served| served.until.is_some());
            assert!(container.running || lingers, "{container:?}");
            if let Some(served) = &container.served {
                let source = source(&self.inventory.config, id, &served.name);
                assert!(self.table.contains_key(&source));
            }
        }
        assert!(self.inventory.poll_timeout().is_none_or(|at| at > self.now));
    }

    fn is_settled_healthy(&self, entry: &str) -> bool {
        let id = entry.split(' ').next().unwrap();
        let container = self.inventory.containers.get(id);
        container.is_some_and(|c| matches!(c.health, Health::Healthy | Health::Unchecked))
    }

    fn served(&self) -> Vec<String> {
        let line = |(source, names): (&Source, &BTreeSet<String>)| {
            let Source::Container { id, .. } = source else {
                panic!("{source:?}");
            };
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{id} {}", names.join(" "))
        };
        self.table.iter().map(line).collect()
    }
}

fn event(id: &str, action: Action) -> Event {
    Event {
        id: Arc::from(id),
        action,
        name: Some(format!("name-{id}")),
        labels: Labels::new(),
        time: 0,
    }
}

fn started(id: &str, names: &str) -> Event {
    Event {
        labels: labels(names),
        ..event(id, Action::Start)
    }
}

fn observed(id: &str, names: &str) -> Observed {
    Observed {
        id: Arc::from(id),
        name: format!("name-{id}"),
        labels: labels(names),
        running: true,
        health: Health::Unknown,
    }
}

fn listing(containers: &[Observed]) -> List {
    let show = |observed: &Observed| {
        json!({
            "Id": &*observed.id,
            "Names": [format!("/{}", observed.name)],
            "Labels": observed.labels,
            "State": if observed.running { "running" } else { "restarting" },
        })
    };
    let list: serde_json::Value = containers.iter().map(show).collect();
    List::new(list.to_string().into()).unwrap()
}

fn labels(names: &str) -> Labels {
    if names.is_empty() {
        return Labels::new();
    }
    Labels::from([("coredns.host.name".to_owned(), names.to_owned())])
}

fn is_report(notice: &Notice) -> bool {
    matches!(notice, Notice::BadLabels { .. })
}

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![
        Action::Start,
        Action::Restart,
        Action::Die,
        Action::Stop,
        Action::Destroy,
        Action::Pause,
        Action::Unpause,
        Action::Rename,
        Action::Kill,
        Action::Health(Health::Healthy),
        Action::Health(Health::Unhealthy),
    ])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u8..6, action(), any::<bool>()).prop_map(|(n, a, l)| Step::Event(n, a, l)),
        2 => (prop::collection::btree_set(0_u8..6, 0..6), prop::option::of((0_u8..6, action())))
            .prop_map(|(ids, meanwhile)| Step::List(ids, meanwhile)),
        2 => (0_u8..6, any::<bool>()).prop_map(|(n, fails)| Step::Inspect(n, fails)),
        2 => (0_u64..7_000).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
    ]
}
