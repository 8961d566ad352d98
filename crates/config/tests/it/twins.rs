//! A Corefile and its twin in TOML have the same typed configuration.

use portolan_config::Options;
use portolan_config::load_corefile;
use portolan_config::load_toml;

/// Checks that both texts give equal blocks and equal `reload`.
fn assert_twins(corefile: &str, toml: &str) {
    let env = |name: &str| (name == "UP").then(|| "192.0.2.53".to_owned());
    let options = Options {
        default_port: None,
        env: &env,
    };
    let left = load_corefile("Corefile", corefile, &options)
        .unwrap_or_else(|errors| panic!("{corefile}\n{errors}"));
    let right = load_toml("portolan.toml", toml, &options)
        .unwrap_or_else(|errors| panic!("{toml}\n{errors}"));
    assert_eq!(left.config.blocks, right.config.blocks);
    assert_eq!(left.config.reload, right.config.reload);
    assert_eq!(
        left.warnings.len(),
        right.warnings.len(),
        "{:?}\n{:?}",
        left.warnings,
        right.warnings
    );
}

#[test]
fn keys_and_bind() {
    assert_twins(
        "example.org:54 10.0.0.0/22:54 a.example:5300 2001:db8::/32:54 {\n bind 127.0.0.1 eth0 {\n except 192.0.2.1\n }\n whoami\n}\n.:55 {\n whoami\n any\n debug\n}",
        r#"
        [[server]]
        zones = ["example.org", "10.0.0.0/22", "a.example:5300", "2001:db8::/32"]
        port = 54
        bind = ["127.0.0.1", "eth0"]
        bind-except = "192.0.2.1"
        whoami = true

        [[server]]
        zones = ".:55"
        whoami = true
        any = true
        debug = true
        "#,
    );
}

#[test]
fn endpoints_and_reload() {
    assert_twins(
        ". {\n health :8080 {\n lameduck 5s\n }\n ready localhost:8181 {\n monitor continuously\n }\n prometheus :9153 {\n runtime_metrics\n }\n reload 10s 2s\n whoami\n}\n.:54 {\n health\n ready\n prometheus\n whoami\n}",
        r#"
        [reload]
        interval = "10s"
        jitter = "2s"

        [[server]]
        zones = ["."]
        whoami = true
        health = { address = ":8080", lameduck = "5s" }
        ready = { address = "localhost:8181", monitor = "continuously" }
        prometheus = { address = ":9153", runtime-metrics = true }

        [[server]]
        zones = ["."]
        port = 54
        whoami = true
        health = true
        ready = true
        prometheus = {}
        "#,
    );
}

#[test]
fn sockets() {
    assert_twins(
        ". {\n multisocket 2 {\n receive_buffer 65536\n send_buffer 32768\n segmentation off\n }\n whoami\n}\n.:54 {\n multisocket\n whoami\n}\n.:55 {\n multisocket {\n segmentation on\n }\n whoami\n}",
        r#"
        [[server]]
        zones = ["."]
        whoami = true
        multisocket = { sockets = 2, receive-buffer = 65536, send-buffer = 32768, segmentation = false }

        [[server]]
        zones = ["."]
        port = 54
        whoami = true
        multisocket = true

        [[server]]
        zones = ["."]
        port = 55
        whoami = true
        multisocket = { segmentation = true }
        "#,
    );
}

#[test]
fn reload_alone_and_with_jitter_only() {
    assert_twins(
        ". {\n reload\n whoami\n}",
        "reload = true\n[[server]]\nzones = \".\"\nwhoami = true",
    );
    assert_twins(
        ". {\n reload 30s 2s\n whoami\n}",
        "reload = { jitter = \"2s\" }\n[[server]]\nzones = \".\"\nwhoami = true",
    );
    assert_twins(
        ". {\n whoami\n}",
        "reload = false\n[[server]]\nzones = \".\"\nwhoami = true\nany = false",
    );
}

#[test]
fn errors_and_log() {
    assert_twins(
        ". {\n errors {\n stacktrace\n consolidate 5m \".* i/o timeout$\" warning show_first\n consolidate 30s x\n }\n log\n log a.example b.example \"{remote} {name}\" {\n class denial error\n }\n log . {combined}\n log c.example\n whoami\n}",
        r#"
        [[server]]
        zones = ["."]
        whoami = true

        [server.errors]
        stacktrace = true

        [[server.errors.consolidate]]
        period = "5m"
        pattern = ".* i/o timeout$"
        level = "warning"
        show-first = true

        [[server.errors.consolidate]]
        period = "30s"
        pattern = "x"

        [[server.log]]

        [[server.log]]
        names = ["a.example", "b.example"]
        format = "{remote} {name}"
        class = ["denial", "error"]

        [[server.log]]
        format = "{combined}"

        [[server.log]]
        names = "c.example"
        "#,
    );
}

#[test]
fn loadbalance() {
    assert_twins(
        ". {\n loadbalance weighted /w {\n reload 5s\n prefer 10.0.0.0/8 192.0.2.1\n }\n whoami\n}\n.:54 {\n loadbalance\n whoami\n}",
        r#"
        [[server]]
        zones = ["."]
        whoami = true
        loadbalance = { policy = "weighted", file = "/w", reload = "5s", prefer = ["10.0.0.0/8", "192.0.2.1"] }

        [[server]]
        zones = [".:54"]
        whoami = true
        loadbalance = true
        "#,
    );
}

#[test]
fn hosts() {
    assert_twins(
        ". {\n hosts /dev/null /tmp/*.hosts example.org {\n 192.0.2.1 a b\n 192.0.2.2 c\n ttl 60\n no_reverse\n reload 1s\n unknown_action nxdomain\n negative_ttl 9\n fallthrough example.org\n fallthrough_unsupported\n }\n}\n.:54 {\n hosts\n}\n.:55 {\n hosts /etc/hosts example.org {\n fallthrough\n }\n}",
        r#"
        [[server]]
        zones = ["."]
        [server.hosts]
        files = ["/dev/null", "/tmp/*.hosts"]
        zones = ["example.org"]
        inline = ["192.0.2.1 a b", "192.0.2.2 c"]
        ttl = 60
        no-reverse = true
        reload = "1s"
        unknown-action = "nxdomain"
        negative-ttl = 9
        fallthrough = ["example.org"]
        fallthrough-unsupported = true

        [[server]]
        zones = [".:54"]
        hosts = true

        [[server]]
        zones = [".:55"]
        hosts = { zones = "example.org", fallthrough = true }
        "#,
    );
}

#[test]
fn docker_cluster_and_traefik_externals() {
    assert_twins(
        ". {\n docker-cluster {\n docker_socket unix:///a tcp://b:1\n host_ip 192.0.2.1 2001:db8::1\n label a b\n traefik_labels\n ttl 5\n fallthrough\n unknown_action refused\n linger 1s\n healthy_only\n no_reverse\n negative_ttl 3\n max_names 7\n cluster_enabled true\n cluster_port 7000\n cluster_seeds x:1 y:2\n node_name n\n cluster_bind_addr 192.0.2.9\n cluster_advertise_addr 192.0.2.8:7\n discovery_port 9\n cluster_label home\n cluster_networks 192.0.2.0/24 2001:db8::1\n cluster_allowed_zones example.org\n cluster_dead_hold 1s\n cluster_leave_hold 2s\n cluster_max_records 9\n }\n traefik-externals {\n directory /d\n env_file /e\n host_ip 192.0.2.1\n ttl 3\n fallthrough example.org\n }\n}\n.:54 {\n docker-cluster\n}",
        r#"
        [[server]]
        zones = ["."]

        [server.docker-cluster]
        docker-socket = ["unix:///a", "tcp://b:1"]
        host-ip = ["192.0.2.1", "2001:db8::1"]
        labels = ["a", "b"]
        traefik-labels = true
        ttl = 5
        fallthrough = true
        unknown-action = "refused"
        linger = "1s"
        healthy-only = true
        no-reverse = true
        negative-ttl = 3
        max-names = 7

        [server.docker-cluster.cluster]
        enabled = true
        port = 7000
        seeds = ["x:1", "y:2"]
        node-name = "n"
        bind-addr = "192.0.2.9"
        advertise-addr = "192.0.2.8:7"
        discovery-port = 9
        label = "home"
        networks = ["192.0.2.0/24", "2001:db8::1"]
        allowed-zones = "example.org"
        dead-hold = "1s"
        leave-hold = "2s"
        max-records = 9

        [server.traefik-externals]
        directory = "/d"
        env-file = "/e"
        host-ip = "192.0.2.1"
        ttl = 3
        fallthrough = ["example.org"]

        [[server]]
        zones = [".:54"]
        docker-cluster = true
        "#,
    );
}

#[test]
fn cache() {
    assert_twins(
        ". {\n forward . 192.0.2.1\n cache 30 example.org {\n success 100 20 1\n denial 9984 30 2\n max_size 2MiB\n prefetch 5 1m 20%\n serve_stale 2h verify 100ms 30s 1m\n serve_stale_policy prefer_positive\n servfail 0\n disable success a.example\n disable denial\n keepttl\n flush_on_reload\n }\n}\n.:54 {\n forward . 192.0.2.1\n cache {\n serve_stale\n prefetch 1\n }\n}\n.:55 {\n forward . 192.0.2.1\n cache {\n serve_stale 1h immediate 5s\n denial 9984 1800 1\n }\n}",
        r#"
        [[server]]
        zones = ["."]
        [[server.forward]]
        from = "."
        to = ["192.0.2.1"]
        [server.cache]
        ttl = 30
        zones = ["example.org"]
        success = { capacity = 100, ttl = 20, min-ttl = 1 }
        denial = { min-ttl = 2 }
        prefetch = { amount = 5, duration = "1m", percentage = "20%" }
        serve-stale = { duration = "2h", refresh = "verify", timeout = "100ms", ttl = "30s", recheck = "1m" }
        serve-stale-policy = "prefer_positive"
        servfail = "0"
        disable-success = ["a.example"]
        disable-denial = []
        keepttl = true
        max-size = "2MiB"
        flush-on-reload = true

        [[server]]
        zones = [".:54"]
        forward = [{ from = ".", to = "192.0.2.1" }]
        cache = { serve-stale = true, prefetch = { amount = 1 } }

        [[server]]
        zones = [".:55"]
        forward = [{ from = ".", to = "192.0.2.1" }]
        cache = { serve-stale = { ttl = "5s" }, denial = { min-ttl = 1 } }
        "#,
    );
}

#[test]
fn forward() {
    assert_twins(
        ". {\n forward example.org {$UP} dns.example.net /etc/resolv.conf {\n except a.example.org\n force_tcp\n prefer_udp\n expire 20s\n max_age 1m\n max_idle_conns 5\n read_timeout 1s\n max_fails 3\n max_connect_attempts 4\n tls CERT KEY CA\n tls_servername x\n policy sequential\n health_check 30s no_rec domain a.example strict\n max_concurrent 9\n next NXDOMAIN\n next_on_nodata\n failfast_all_unhealthy_upstreams\n failover REFUSED SERVFAIL\n doh_method GET\n source_address 192.0.2.9\n resolver 192.0.2.8\n allow_from 10.0.0.0/8\n }\n forward . 192.0.2.2 {\n allow_from any\n health_check 500ms no_rec\n }\n}",
        r#"
        [[server]]
        zones = ["."]

        [[server.forward]]
        from = "example.org"
        to = ["{$UP}", "dns.example.net", "/etc/resolv.conf"]
        except = ["a.example.org"]
        force-tcp = true
        prefer-udp = true
        expire = "20s"
        max-age = "1m"
        max-idle-conns = 5
        read-timeout = "1s"
        max-fails = 3
        max-connect-attempts = 4
        tls = { cert = "CERT", key = "KEY", ca = "CA" }
        tls-servername = "x"
        policy = "sequential"
        health-check = { interval = "30s", no-rec = true, domain = "a.example", strict = true }
        max-concurrent = 9
        next = "NXDOMAIN"
        next-on-nodata = true
        failfast-all-unhealthy-upstreams = true
        failover = ["REFUSED", "SERVFAIL"]
        doh-method = "GET"
        source-address = "192.0.2.9"
        resolver = ["192.0.2.8"]
        allow-from = ["10.0.0.0/8"]

        [[server.forward]]
        from = "."
        to = ["192.0.2.2"]
        allow-from = "any"
        health-check = { no-rec = true }
        "#,
    );
}

#[test]
fn mistakes_in_toml_have_their_place() {
    let env = |_: &str| None;
    let options = Options {
        default_port: None,
        env: &env,
    };
    for (text, expected) in [
        (
            "[[server]]\nzones = [\".\"]\ncache = { ttl = 0 }\n",
            "plugin/cache: portolan.toml:3:17 - Error during parsing: cache TTL can not be zero or negative: 0",
        ),
        (
            "[[server]]\nzones = [\".\", \"example..org\"]\nwhoami = true",
            "portolan.toml:2:15 - Error during parsing: error inspecting server blocks: zone is not a valid domain name: example..org",
        ),
        (
            "[[server]]\nzones = [\".\"]\n[[server.forward]]\nfrom = \".\"\nto = [\"1.1.1.1\", \"1.1.1.256\"]\n",
            "plugin/forward: portolan.toml:5:18 - Error during parsing: failed to resolve \"1.1.1.256\"",
        ),
        (
            "[[server]]\nzones = [\".\"]\n[[server.forward]]\nfrom = \".\"\n",
            "plugin/forward: portolan.toml:",
        ),
        (
            "[[server]]\nzones = [\".\"]\n[server.docker-cluster.cluster]\nsecret-file = \"/nowhere\"\n",
            "plugin/docker-cluster: portolan.toml:4:15 - Error during parsing: invalid cluster_secret_file: /nowhere: cannot read it",
        ),
        (
            "[[server]]\nzones = [\".\"]\nbogus = 1\n",
            "portolan.toml:3:1 - Error during parsing: unknown field `bogus`",
        ),
        (
            "[[server]]\nzones = [\".\"]\n[server.cache]\nbogus = 1\n",
            "portolan.toml:4:1 - Error during parsing: unknown field `bogus`",
        ),
        (
            "[[server]]\nzones = [\".\"]\nwhoami = 5\n",
            "portolan.toml:3:10 - Error during parsing: invalid type",
        ),
        (
            "[[server]]\nport = 5\n",
            "portolan.toml:1:1 - Error during parsing: missing field `zones`",
        ),
        ("[[server]\n", "portolan.toml:1:"),
        (
            "",
            "portolan.toml:1:1 - Error during parsing: there is no server block",
        ),
    ] {
        let errors = load_toml("portolan.toml", text, &options)
            .expect_err(text)
            .to_string();
        assert!(errors.starts_with(expected), "{text}\n{errors}");
    }
}

#[test]
fn all_mistakes_of_values_are_told_at_once() {
    let text = "[[server]]\nzones = [\".\"]\nport = \"x\"\nhealth = { address = \"8080\" }\ncache = { servfail = \"6m\" }\n";
    let env = |_: &str| None;
    let options = Options {
        default_port: None,
        env: &env,
    };
    let errors = load_toml("portolan.toml", text, &options).expect_err("refused");
    assert_eq!(errors.iter().count(), 3, "{errors}");
}
