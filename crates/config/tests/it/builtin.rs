//! The built-in configuration, and the Corefiles in the wild.

use portolan_config::BUILTIN_COREFILE;
use portolan_config::Options;
use portolan_config::UnknownAction;
use portolan_config::load_builtin;
use portolan_config::load_corefile;

use crate::support::load;

/// The Corefile that Joyride ships.
const JOYRIDE: &str = "\
.:54 {
    # Static hosts file for custom DNS entries
    hosts /etc/hosts.d/hosts {
        fallthrough
    }

    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 0.0.0.0
        label coredns.host.name
        label joyride.host.name
        ttl 60
    }

    traefik-externals {
        directory /etc/traefik/external-enabled
        host_ip 0.0.0.0
        ttl 60
        fallthrough
    }

    # Error logging
    errors
    # forward . {$DNS_UPSTREAM:8.8.8.8 1.1.1.1}

    health :5454
    prometheus :9153
}
";

#[test]
fn the_builtin_configuration_listens_on_54_or_where_it_is_told() {
    let env = |_: &str| None;
    for (default_port, port) in [(None, 54), (Some(5300), 5300), (Some(53), 53)] {
        let loaded = load_builtin(&Options {
            default_port,
            env: &env,
        })
        .expect("accepted");
        assert_eq!(loaded.warnings, []);
        let block = loaded.config.blocks.first().expect("a block");
        assert_eq!(block.keys.first().expect("a key").port, port);
    }
}

#[test]
fn the_builtin_configuration_is_the_example() {
    let env = |_: &str| None;
    let options = Options {
        default_port: None,
        env: &env,
    };
    let builtin = load_builtin(&options).expect("accepted").config;
    let example = load_corefile("Corefile.example", BUILTIN_COREFILE, &options).expect("accepted");
    assert_eq!(builtin, example.config);
    let block = builtin.blocks.first().expect("a block");
    let docker = block.docker_cluster.as_ref().expect("docker-cluster");
    assert!(docker.fallthrough.is_some());
    assert_eq!(docker.labels, ["coredns.host.name", "joyride.host.name"]);
    assert_eq!(docker.ttl, 60);
    let forward = block.forward.first().expect("forward");
    assert_eq!(forward.to.len(), 2);
    assert_eq!(block.cache.as_ref().expect("cache").success.max_ttl, 300);
    assert_eq!(
        block.health.as_ref().expect("health").address.to_string(),
        ":8080"
    );
    assert_eq!(
        block.ready.as_ref().expect("ready").address.to_string(),
        ":8181"
    );
    assert_eq!(
        block
            .prometheus
            .as_ref()
            .expect("prometheus")
            .address
            .to_string(),
        ":9153"
    );
    assert!(block.errors.is_some());
}

#[test]
fn joyride_runs_as_it_is() {
    let config = load(JOYRIDE).expect("accepted").config;
    let block = config.blocks.first().expect("a block");
    assert_eq!(block.keys.first().expect("a key").port, 54);
    assert_eq!(block.position.to_string(), "Corefile:1:1");
    let docker = block.docker_cluster.as_ref().expect("docker-cluster");
    assert_eq!(
        (docker.unknown_action, docker.host.detect),
        (UnknownAction::Drop, true)
    );
    assert_eq!(docker.position.to_string(), "Corefile:7:5");
    assert!(block.traefik_externals.is_some());
    assert!(block.stages().iter().all(|stage| stage.reached));
}

#[test]
fn joyride_as_a_cluster_runs_as_it_is() {
    let text = "\
.:54 {
    hosts /etc/hosts.d/hosts {
        fallthrough
    }
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.0.2.61
        label coredns.host.name
        label joyride.host.name
        ttl 60
        cluster_enabled true
        cluster_port 7946
        cluster_seeds 192.0.2.62:7946,192.0.2.63:7946
        node_name coredns-node-1
    }
    errors
    health :5454
    prometheus :9153
}
";
    let config = load(text).expect("accepted").config;
    let docker = config
        .blocks
        .first()
        .expect("a block")
        .docker_cluster
        .clone();
    assert_eq!(docker.expect("docker-cluster").cluster.seeds.len(), 2);
}

#[test]
fn a_typical_coredns_file_runs() {
    let text = "\
.:54 {
    docker-cluster {
        docker_socket unix:///var/run/docker.sock
        host_ip 192.0.2.61
        label coredns.host.name
        label joyride.host.name
        ttl 60
        fallthrough
    }
    forward . 8.8.8.8 1.1.1.1 {
        health_check 30s
    }
    # log
    errors
    health :8080
    prometheus :9153
    cache 300
}
";
    let loaded = load(text).expect("accepted");
    assert_eq!(loaded.warnings, []);
}
