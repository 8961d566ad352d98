//! Consolidation over time.

use tokio_util::sync::CancellationToken;

use super::*;

#[test]
fn an_error_without_a_rule_is_logged_at_once() {
    let log = ErrorLog::new(vec![rule("timeout$", 30)]);

    let lines = log.report(&failure("no route to host"), start());

    assert_eq!(
        lines,
        [line(Level::Error, "2 example.org. A: no route to host")]
    );
    assert_eq!(log.poll_timeout(), None);
}

#[test]
fn matching_errors_are_summed_up_at_the_end_of_the_window() {
    let log = ErrorLog::new(vec![Rule {
        level: Level::Warning,
        ..rule("timeout$", 300)
    }]);
    let start = start();

    for second in 0..3 {
        let lines = log.report(&failure("read udp: i/o timeout"), start + secs(second));
        assert_eq!(lines, [], "error {second}");
    }

    assert_eq!(log.poll_timeout(), Some(start + secs(300)));
    assert_eq!(log.handle_timeout(start + secs(299)), []);
    let expected = "3 errors like 'timeout$' occurred in last 5m0s";
    assert_eq!(
        log.handle_timeout(start + secs(300)),
        [line(Level::Warning, expected)]
    );
    assert_eq!(log.poll_timeout(), None);
    assert_eq!(log.handle_timeout(start + secs(600)), []);
}

#[test]
fn a_pattern_sees_the_text_alone() {
    let log = ErrorLog::new(vec![rule("^read udp", 30), rule("example", 30)]);

    assert_eq!(log.report(&failure("read udp: refused"), start()), []);
    assert_eq!(log.report(&failure("other"), start()).len(), 1);
}

#[test]
fn the_first_matching_rule_wins() {
    let log = ErrorLog::new(vec![rule("timeout", 60), rule("udp", 30)]);
    let start = start();

    log.report(&failure("udp timeout"), start);
    log.report(&failure("udp refused"), start);

    assert_eq!(log.poll_timeout(), Some(start + secs(30)));
    let expected = [line(
        Level::Error,
        "1 errors like 'udp' occurred in last 30s",
    )];
    assert_eq!(log.handle_timeout(start + secs(30)), expected);
    let expected = [line(
        Level::Error,
        "1 errors like 'timeout' occurred in last 1m0s",
    )];
    assert_eq!(log.handle_timeout(start + secs(60)), expected);
}

#[test]
fn show_first_logs_the_first_error_of_each_window() {
    let shown = Rule {
        show_first: true,
        level: Level::Info,
        ..rule("timeout", 30)
    };
    let log = ErrorLog::new(vec![shown]);
    let start = start();

    let first = log.report(&failure("timeout"), start);
    let second = log.report(&failure("timeout"), start + secs(1));
    let end = log.handle_timeout(start + secs(30));
    let next = log.report(&failure("timeout"), start + secs(31));

    assert_eq!(first, [line(Level::Info, "2 example.org. A: timeout")]);
    assert_eq!(second, []);
    assert_eq!(
        end,
        [line(
            Level::Info,
            "2 errors like 'timeout' occurred in last 30s"
        )]
    );
    assert_eq!(next, first);
}

#[test]
fn show_first_says_nothing_more_about_a_single_error() {
    let log = ErrorLog::new(vec![Rule {
        show_first: true,
        ..rule("timeout", 30)
    }]);
    let start = start();

    log.report(&failure("timeout"), start);

    assert_eq!(log.handle_timeout(start + secs(30)), []);
}

#[test]
fn an_error_after_the_end_opens_a_new_window() {
    let log = ErrorLog::new(vec![rule("timeout", 30)]);
    let start = start();
    log.report(&failure("timeout"), start);

    // The timer is late.
    let lines = log.report(&failure("timeout"), start + secs(40));

    assert_eq!(
        lines,
        [line(
            Level::Error,
            "1 errors like 'timeout' occurred in last 30s"
        )]
    );
    assert_eq!(log.poll_timeout(), Some(start + secs(70)));
}

#[test]
fn flush_sums_up_and_ends_consolidation() {
    let log = ErrorLog::new(vec![rule("timeout", 30)]);
    log.report(&failure("timeout"), start());

    let flushed = log.flush();
    let late = log.report(&failure("timeout"), start());

    assert_eq!(
        flushed,
        [line(
            Level::Error,
            "1 errors like 'timeout' occurred in last 30s"
        )]
    );
    assert_eq!(late, [line(Level::Error, "2 example.org. A: timeout")]);
    assert_eq!(log.flush(), []);
}

#[test]
fn durations_print_as_in_go() {
    let cases = [
        (Duration::ZERO, "0s"),
        (Duration::from_nanos(1), "1ns"),
        (Duration::from_nanos(1_100), "1.1µs"),
        (Duration::from_millis(250), "250ms"),
        (Duration::from_micros(2_200), "2.2ms"),
        (Duration::from_millis(3_300), "3.3s"),
        (Duration::from_millis(5_001), "5.001s"),
        (secs(30), "30s"),
        (secs(60), "1m0s"),
        (secs(300), "5m0s"),
        (secs(4 * 60 + 5), "4m5s"),
        (secs(3600), "1h0m0s"),
        (secs(5 * 3600 + 6 * 60 + 7), "5h6m7s"),
        (secs(26 * 3600) + Duration::from_millis(1), "26h0m0.001s"),
    ];
    for (duration, expected) in cases {
        assert_eq!(GoDuration(duration).to_string(), expected, "{duration:?}");
    }
}

#[tokio::test]
async fn the_reporter_closes_windows_on_time() {
    let period = Duration::from_millis(30);
    let reporter = ErrorReporter::new(vec![Rule {
        period,
        ..rule("timeout", 0)
    }]);
    let stop = CancellationToken::new();

    let watch = async {
        // The task waits before there is any window.
        tokio::time::sleep(Duration::from_millis(5)).await;
        reporter.report(&failure("timeout"));
        assert!(reporter.next_end().is_some());
        while reporter.next_end().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reporter.report(&failure("timeout"));
        stop.cancel();
    };
    let both = async { tokio::join!(watch, reporter.run(stop.clone())) };
    tokio::time::timeout(secs(20), both)
        .await
        .expect("the window closes");

    assert_eq!(reporter.next_end(), None, "stopping closes what is open");
}

/// A rule that collects for some seconds.
fn rule(pattern: &str, seconds: u64) -> Rule {
    Rule {
        period: secs(seconds),
        pattern: Regex::new(pattern).expect("a valid pattern"),
        level: Level::Error,
        show_first: false,
    }
}

/// A failed query.
fn failure(text: &str) -> Failure<'_> {
    Failure {
        rcode: 2,
        name: "example.org.",
        qtype: "A",
        text,
    }
}

/// A line.
fn line(level: Level, text: &str) -> Line {
    Line {
        level,
        text: text.to_owned(),
    }
}

/// Whole seconds.
fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Some moment.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to get an instant"
)]
fn start() -> Instant {
    Instant::now()
}
