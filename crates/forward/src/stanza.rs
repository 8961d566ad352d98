//! One `forward` stanza at work.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use portolan_proto::Message;
use portolan_proto::Qname;
use portolan_proto::Rcode;
use portolan_proto::Section;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

use crate::Config;
use crate::Context;
use crate::Failure;
use crate::Families;
use crate::MAX_UPSTREAMS;
use crate::Question;
use crate::UpstreamConfig;
use crate::lookup;
use crate::policy::Plan;
use crate::race::NO_HEALTHY;
use crate::race::Race;
use crate::race::Reply;
use crate::resolv_conf::CHECK_EVERY;
use crate::resolv_conf::Followed;
use crate::upstream::Settings;
use crate::upstream::Upstream;

/// A set of names and the upstreams that are asked about them.
#[derive(Debug)]
pub struct Forward {
    /// Settings.
    config: Config,
    /// What the upstreams share.
    settings: Arc<Settings>,
    /// The upstreams as of now.
    upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    /// How many queries were planned.
    turn: AtomicUsize,
    /// Queries at work.
    concurrent: AtomicUsize,
    /// Metrics.
    families: Families,
    /// Ends probing and following when the stanza is dropped.
    _ending: DropGuard,
}

/// Why a stanza cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is nobody to ask.
    #[error("no valid upstream addresses found")]
    NoUpstreams,
    /// There are too many.
    #[error("more than {MAX_UPSTREAMS} TOs configured: {0}")]
    TooManyUpstreams(usize),
    /// A host name has no address.
    #[error("failed to resolve {host}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// A file of upstreams cannot be read.
    #[error("unable to read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// An answer, and whether the stanza that follows is to be asked instead.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The answer.
    pub(crate) reply: Reply,
    /// Whether `next` leaves it to the following stanza.
    pub(crate) next: bool,
}

/// Where upstreams come from, in the order of the settings.
#[derive(Debug)]
enum Origin {
    /// Known addresses.
    Fixed(Vec<SocketAddr>),
    /// A file that is followed.
    File(Followed),
}

/// Counts one query for as long as it lives.
struct Slot<'a>(&'a AtomicUsize);

// === impl Forward ===

impl Forward {
    /// Builds a stanza: reads files and resolves names of upstreams.
    ///
    /// # Errors
    ///
    /// See [`BuildError`].
    pub async fn build(config: Config, context: &Context) -> Result<Arc<Self>, BuildError> {
        let origins = origins(&config).await?;
        let addrs = addrs(&origins);
        match addrs.len() {
            0 => return Err(BuildError::NoUpstreams),
            1..=MAX_UPSTREAMS => {}
            count => return Err(BuildError::TooManyUpstreams(count)),
        }
        let token = context.token.child_token();
        let settings = Arc::new(Settings::new(&config, context, token.clone()));
        let upstreams = upstreams(&addrs, &[], &settings, context);
        let forward = Arc::new(Self {
            config,
            settings,
            upstreams: ArcSwap::from_pointee(upstreams),
            turn: AtomicUsize::new(0),
            concurrent: AtomicUsize::new(0),
            families: context.families.clone(),
            _ending: token.clone().drop_guard(),
        });
        let weak = Arc::downgrade(&forward);
        let upkeep = upkeep(weak, origins, token, context.clone());
        context.tracker.spawn(upkeep);
        Ok(forward)
    }

    /// Whether queries for a name are for this stanza.
    pub fn claims(&self, qname: &Qname) -> bool {
        let excepted = || {
            // What is forwarded by name is not excepted by that name.
            self.config.except.iter().any(|zone| qname.is_within(zone))
                && !self
                    .config
                    .from
                    .iter()
                    .any(|zone| qname.as_wire() == zone.as_wire())
        };
        self.config.from.iter().any(|zone| qname.is_within(zone)) && !excepted()
    }

    /// Whether a client may use this stanza. An IPv4 address in IPv6 clothes
    /// counts as IPv4.
    pub fn allows(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.config
            .allow_from
            .iter()
            .any(|range| range.contains(&client))
    }

    /// The settings it was built with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The upstreams as of now.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams.load().iter().map(|u| u.addr()).collect()
    }

    /// Asks the upstreams.
    pub(crate) async fn exchange(&self, question: &Question) -> Result<Exchange, Failure> {
        let _slot = self.slot()?;
        let upstreams = self.upstreams.load_full();
        let plan = self.plan(&upstreams)?;
        let race = Race {
            upstreams: &upstreams,
            question,
            read_timeout: self.config.read_timeout,
            failover: &self.config.failover,
        };
        let reply = race.run(plan).await?;
        let next = self.leaves(&reply.message);
        Ok(Exchange { reply, next })
    }

    /// Takes one of `max_concurrent` places.
    fn slot(&self) -> Result<Slot<'_>, Failure> {
        let slot = Slot::take(&self.concurrent);
        let maximum = self.config.max_concurrent;
        if maximum > 0 && self.concurrent.load(Ordering::Relaxed) > maximum {
            self.families.rejected();
            return Err(Failure::overload(maximum));
        }
        Ok(slot)
    }

    /// Plans the attempts of one query.
    fn plan(&self, upstreams: &[Arc<Upstream>]) -> Result<Plan, Failure> {
        let now = Instant::now();
        let standings: Vec<_> = upstreams.iter().map(|u| u.standing(now)).collect();
        let plan = Plan::new(
            self.config.policy,
            &standings,
            self.turn.fetch_add(1, Ordering::Relaxed),
            self.config.max_connect_attempts,
            &mut rand::rng(),
        );
        if plan.all_down() {
            self.families.broken();
            if self.config.failfast_all_unhealthy_upstreams {
                return Err(Failure::unreachable(NO_HEALTHY.into()));
            }
        }
        Ok(plan)
    }

    /// Whether an answer is left to the stanza that follows.
    fn leaves(&self, message: &Message) -> bool {
        let rcode = message.rcode();
        let nodata = || {
            rcode == Rcode::NOERROR
                && !message
                    .records()
                    .any(|record| record.section == Section::Answer)
        };
        self.config.next.contains(&rcode) || self.config.next_on_nodata && nodata()
    }
}

// === impl Slot ===

impl<'a> Slot<'a> {
    /// Counts one more.
    fn take(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Finds out where the upstreams come from.
async fn origins(config: &Config) -> Result<Vec<Origin>, BuildError> {
    let mut origins = Vec::new();
    for upstream in &config.upstreams {
        origins.push(match upstream {
            UpstreamConfig::Addr(addr) => Origin::Fixed(vec![*addr]),
            UpstreamConfig::File(path) => {
                let followed = Followed::open(path.clone()).await;
                Origin::File(followed.map_err(|reason| BuildError::Read {
                    path: path.clone(),
                    reason,
                })?)
            }
            UpstreamConfig::Hostname { host, port } => {
                let found = lookup::addresses(host, *port, &config.resolver).await;
                Origin::Fixed(found.map_err(|reason| BuildError::Resolve {
                    host: host.clone(),
                    reason,
                })?)
            }
        });
    }
    Ok(origins)
}

/// The addresses of all origins, in order.
fn addrs(origins: &[Origin]) -> Vec<SocketAddr> {
    origins
        .iter()
        .flat_map(|origin| match origin {
            Origin::Fixed(addrs) => addrs,
            Origin::File(followed) => &followed.addrs,
        })
        .copied()
        .collect()
}

/// The upstreams at some addresses. What was known of one is kept.
fn upstreams(
    addrs: &[SocketAddr],
    known: &[Arc<Upstream>],
    settings: &Arc<Settings>,
    context: &Context,
) -> Vec<Arc<Upstream>> {
    addrs
        .iter()
        .take(MAX_UPSTREAMS)
        .map(|&addr| match known.iter().find(|u| u.addr() == addr) {
            Some(upstream) => Arc::clone(upstream),
            None => Arc::new(Upstream::new(addr, Arc::clone(settings), context)),
        })
        .collect()
}

/// Closes connections past their time and follows files, until the stanza is
/// dropped.
async fn upkeep(
    forward: Weak<Forward>,
    mut origins: Vec<Origin>,
    token: CancellationToken,
    context: Context,
) {
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(CHECK_EVERY) => {}
        }
        let mut changed = false;
        for origin in &mut origins {
            if let Origin::File(followed) = origin {
                changed |= followed.check().await;
            }
        }
        let Some(forward) = forward.upgrade() else {
            return;
        };
        let known = forward.upstreams.load_full();
        if changed {
            let now = upstreams(&addrs(&origins), &known, &forward.settings, &context);
            forward.upstreams.store(Arc::new(now));
        }
        for upstream in known.iter() {
            upstream.sweep(Instant::now());
        }
    }
}
