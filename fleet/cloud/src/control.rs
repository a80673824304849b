//! The control endpoint, `/_muster/...`: how tests and labs in other processes look at the world and break it.
//! What there is stands in the crate's README. Answers are JSON; a refusal is `{"error": "..."}` with a status of
//! 4xx. Only callers on loopback are served.

use crate::ec2;
use crate::faults::HttpFault;
use crate::gate::plain;
use crate::request::Request;
use crate::shared::Shared;
use crate::wire::Answer;
use fleet::{AlarmState, FleetId, Health, InstanceId, Pool, Timestamp, parse_duration};
use fleet_sim::{Demand, ScheduledCode, World};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// Why the control endpoint refuses.
type Refusal = (StatusCode, String);

/// Answers a request of the control endpoint.
///
/// * `path`: what follows `/_muster/`.
pub(crate) fn answer(shared: &Shared, request: &Request, path: &str) -> Answer {
    let answered = if request.peer.ip().is_loopback() {
        carry_out(shared, request, path)
    } else {
        Err((StatusCode::FORBIDDEN, "only callers on loopback are served".to_owned()))
    };
    let (status, value) = match answered {
        Ok(value) => (StatusCode::OK, value),
        Err((status, message)) => (status, json!({"error": message})),
    };
    let mut answer = plain(status, format!("{value:#}\n"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn carry_out(shared: &Shared, request: &Request, path: &str) -> Result<Value, Refusal> {
    let moved = |answer: Result<Value, Refusal>| {
        shared.moved.notify_waiters();
        answer
    };
    match (&request.method, path) {
        (&Method::GET, "state") => Ok(state(&shared.world())),
        (&Method::GET, "calls") => Ok(json!(shared.world().calls())),
        (&Method::GET, "identity-certificate") => match shared.signer() {
            Ok(signer) => Ok(json!({"pem": signer.certificate()})),
            Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        },
        (&Method::GET, "faults") => Ok(json!(shared.faults.list())),
        (&Method::PUT, "faults") => {
            let faults: Vec<HttpFault> = read(request)?;
            let known = faults.len();
            shared.faults.set(faults);
            Ok(json!({"faults": known}))
        }
        (&Method::POST, "interrupt") => moved(each(shared, request, World::interrupt)),
        (&Method::POST, "rebalance") => moved(each(shared, request, World::recommend_rebalance)),
        (&Method::POST, "schedule") => moved(schedule(shared, request)),
        (&Method::POST, "health") => health(shared, request),
        (&Method::POST, "depth") => depth(shared, request),
        (&Method::POST, "describe-lag") => {
            let Lag { lag } = read(request)?;
            shared.world().set_describe_lag(duration(&lag)?);
            Ok(json!({"lag": lag}))
        }
        (&Method::POST, "image") => {
            let (image, snapshot) = ec2::put_image(shared, &read(request)?);
            Ok(json!({"image": image, "snapshot": snapshot}))
        }
        (&Method::POST, "alarm") => alarm(shared, request),
        (&Method::POST, "load") => load(shared, request),
        (&Method::POST, "advance") => moved(advance(shared, request)),
        _ => Err((StatusCode::NOT_FOUND, format!("no {} /_muster/{path}", request.method))),
    }
}

fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    serde_json::from_slice(&request.body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn duration(text: &str) -> Result<Duration, Refusal> {
    parse_duration(text).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn state(world: &World) -> Value {
    let fleets: Vec<Value> = world
        .fleets()
        .into_iter()
        .map(|fleet| {
            let instances: Vec<Value> = world
                .instance_truths(&fleet.id)
                .into_iter()
                .map(|instance| {
                    let end = instance.interruption;
                    json!({
                        "id": instance.id,
                        "pool": instance.pool.to_string(),
                        "weight": instance.weight,
                        "power": instance.power,
                        "phase": instance.phase,
                        "requested": instance.requested.to_string(),
                        "in_service": instance.in_service.map(|at| at.to_string()),
                        "ended": instance.ended.map(|at| at.to_string()),
                        "private_ip": world.private_address(&instance.id),
                        "interruption": end.map(|end| json!({
                            "deadline": end.deadline.to_string(),
                            "by_fleet": end.by_fleet,
                        })),
                    })
                })
                .collect();
            json!({
                "id": fleet.id,
                "backend": fleet.backend,
                "truth": world.truth(&fleet.id),
                "scores": world.scores(&fleet.id),
                "instances": instances,
            })
        })
        .collect();
    let pools: Vec<Value> = world
        .spec()
        .pools
        .iter()
        .map(|pool| json!({"pool": pool.pool().to_string(), "price": pool.price.to_string(), "depth": pool.depth}))
        .collect();
    json!({
        "now": world.now().to_string(),
        "start": world.start().to_string(),
        "region": world.spec().region,
        "account": world.spec().account,
        "fleets": fleets,
        "pools": pools,
    })
}

/// Whom a change concerns: one instance, or all of a pool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whom {
    instance: Option<InstanceId>,
    pool: Option<String>,
}

/// Does something to an instance or to all of a pool; answers whom it was done to.
fn each(
    shared: &Shared,
    request: &Request,
    change: fn(&mut World, &InstanceId) -> bool,
) -> Result<Value, Refusal> {
    let whom: Whom = read(request)?;
    let mut world = shared.world();
    let instances = match (whom.instance, whom.pool) {
        (Some(instance), None) => vec![instance],
        (None, Some(pool)) => {
            let pool = pool_of(&pool, &world)?;
            let of_pool = world.shown_instances().into_iter().filter(|instance| instance.pool == pool);
            of_pool.map(|instance| instance.id).collect()
        }
        _ => return Err((StatusCode::BAD_REQUEST, "name either an instance or a pool".to_owned())),
    };
    let hit: Vec<InstanceId> =
        instances.into_iter().filter(|instance| change(&mut world, instance)).collect();
    if hit.is_empty() {
        return Err((StatusCode::CONFLICT, "nothing there that this can be done to".to_owned()));
    }
    Ok(json!({"instances": hit}))
}

/// A pool of the world by its name, `m5.large/eu-west-1a` or `m5.large/eu-west-1a/on-demand`.
fn pool_of(name: &str, world: &World) -> Result<Pool, Refusal> {
    let found = crate::world_file::pool_of(name);
    if let Some(pool) = found.filter(|pool| world.spec().pools.iter().any(|known| known.pool() == *pool)) {
        return Ok(pool);
    }
    let known: Vec<String> = world.spec().pools.iter().map(|known| known.pool().to_string()).collect();
    Err((StatusCode::NOT_FOUND, format!("no pool {name:?}; there are {}", known.join(", "))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Schedule {
    instance: InstanceId,
    code: String,
    after: String,
}

/// Plans maintenance of an instance.
fn schedule(shared: &Shared, request: &Request) -> Result<Value, Refusal> {
    let Schedule { instance, code, after } = read(request)?;
    let Some(known) = ScheduledCode::ALL.into_iter().find(|known| known.word() == code) else {
        let words = ScheduledCode::ALL.map(ScheduledCode::word).join(", ");
        return Err((StatusCode::BAD_REQUEST, format!("no code {code:?}; there are {words}")));
    };
    if !shared.world().schedule(&instance, known, duration(&after)?) {
        return Err((StatusCode::CONFLICT, format!("{instance} does not run")));
    }
    Ok(json!({"instance": instance, "code": code, "after": after}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthOf {
    instance: InstanceId,
    healthy: bool,
}

fn health(shared: &Shared, request: &Request) -> Result<Value, Refusal> {
    let HealthOf { instance, healthy } = read(request)?;
    let health = if healthy { Health::Healthy } else { Health::Unhealthy };
    if !shared.world().set_health(&instance, health) {
        return Err((StatusCode::NOT_FOUND, format!("no instance {instance}")));
    }
    Ok(json!({"instance": instance, "healthy": healthy}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Depth {
    pool: String,
    depth: u32,
}

fn depth(shared: &Shared, request: &Request) -> Result<Value, Refusal> {
    let Depth { pool, depth } = read(request)?;
    let mut world = shared.world();
    let found = pool_of(&pool, &world)?;
    world.set_depth(&found, depth);
    Ok(json!({"pool": pool, "depth": depth}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lag {
    lag: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlarmOf {
    name: String,
    /// `None`: there is no such alarm any more.
    state: Option<String>,
    #[serde(default)]
    composite: bool,
}

fn alarm(shared: &Shared, request: &Request) -> Result<Value, Refusal> {
    let AlarmOf { name, state, composite } = read(request)?;
    match &state {
        None => shared.world().delete_alarm(&name),
        Some(word) => {
            let Some(state) = AlarmState::of_word(word) else {
                let message = format!("no state {word:?}; there are OK, ALARM, INSUFFICIENT_DATA");
                return Err((StatusCode::BAD_REQUEST, message));
            };
            shared.world().set_alarm(&name, state, composite);
        }
    }
    Ok(json!({"name": name, "state": state}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Load {
    fleet: FleetId,
    demand: f64,
}

fn load(shared: &Shared, request: &Request) -> Result<Value, Refusal> {
    let Load { fleet, demand } = read(request)?;
    let mut world = shared.world();
    if !world.fleets().iter().any(|known| known.id == fleet) {
        return Err((StatusCode::NOT_FOUND, format!("no fleet {fleet}")));
    }
    world.set_load(&fleet, Demand::constant(demand));
    Ok(json!({"fleet": fleet, "demand": demand}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    by: String,
}

fn advance(shared: &Shared, request: &Request) -> Result<Value, Refusal> {
    if shared.pace.drives() {
        let message =
            "the world's time runs by itself; start the cloud without a speed to advance it by hand";
        return Err((StatusCode::CONFLICT, message.to_owned()));
    }
    let Advance { by } = read(request)?;
    let by = duration(&by)?;
    let mut world = shared.world();
    let to: Timestamp = world.now() + by;
    world.advance(to);
    Ok(json!({"now": world.now().to_string()}))
}
