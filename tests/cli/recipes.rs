use serde_json::Value;

use crate::support::world::{World, profile};

const QUEUE: &str = r#"description = "A queue for jobs"
[part.server]
description = "hands out jobs"
nodes = "one"
[part.worker]
description = "runs them"
[param.port]
type = "integer"
default = 7000
help = "where the server listens"
"#;

/// A profile of two nodes, with a recipe of its own beside it.
fn own_recipe(role: &str) -> World {
    let world = World::new();
    let more = format!("recipes = [{role:?}]\n[node.recipe.queue]\nport = 7001\n");
    world.write("my/cluster.toml", &profile(&[("n1", "192.168.7.11")], &more));
    world.write("my/recipes/queue/recipe.toml", QUEUE);
    world.write(
        "my/recipes/queue/node.toml",
        "[[file]]\npath = \"/etc/queue.conf\"\ntemplate = \"conf/queue.conf\"\n",
    );
    world.write("my/recipes/queue/conf/queue.conf", "{{ node.name }} listens on {{ param.port }}\n");
    world
}

#[test]
fn recipes_lists_every_word_a_profile_may_use_with_a_line() {
    let world = World::new();
    let run = world.run(&["recipes"]).succeeded();
    for word in ["docker ", "docker-swarm/manager ", "slurm/compute ", "nfs-client "] {
        assert!(run.out.lines().any(|line| line.starts_with(word)), "{word} is missing: {}", run.out);
    }
    let run = world.run(&["recipes", "--json"]).succeeded();
    let all: Value = serde_json::from_str(&run.out).unwrap();
    let names: Vec<&str> = all.as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert!(names.len() >= 20 && names.is_sorted(), "{names:?}");
}

#[test]
fn a_recipe_is_explained_with_its_parameters_ready_to_be_copied() {
    let world = World::new();
    let run = world.run(&["recipes", "slurm"]).succeeded();
    for line in [
        "  recipes = [\"slurm/controller\"]",
        "  [defaults.recipe.slurm]",
        "  # cpus = 4",
        "brings along: time-sync",
    ] {
        assert!(run.out.lines().any(|found| found == line), "{line} is missing: {}", run.out);
    }
    let run = world.run(&["recipes", "grafana", "--json"]).succeeded();
    let recipe: Value = serde_json::from_str(&run.out).unwrap();
    let key =
        recipe["params"].as_array().unwrap().iter().find(|param| param["name"] == "key-sha256").unwrap();
    assert_eq!((&key["type"], &key["default"]), (&Value::from("sha256"), &Value::Null));
    let run = world.run(&["recipes", "slrum"]);
    assert_eq!(run.status, 2, "{}", run.err);
    assert!(run.err.contains("there is no recipe `slrum`") && run.err.contains("slurm"), "{}", run.err);
}

#[test]
fn a_folder_beside_the_profile_is_a_recipe_too() {
    let world = own_recipe("queue/server");
    let run = world.run(&["recipes", "--profile", "my/cluster.toml"]).succeeded();
    assert!(run.out.contains("queue/server "), "{}", run.out);
    let run = world.run(&["plan", "my/cluster.toml"]).succeeded();
    assert!(run.out.contains("[file] create /etc/queue.conf\n    +n1 listens on 7001\n"), "{}", run.out);
}

#[test]
fn a_fault_of_a_recipe_is_drawn_and_nothing_is_written() {
    let world = own_recipe("queue/sevrer");
    let run = world.run(&["build", "my/cluster.toml"]);
    assert_eq!(run.status, 2, "{}", run.err);
    assert!(run.err.contains("the recipe `queue` has no part `sevrer`"), "{}", run.err);

    let world = own_recipe("queue/server");
    world.write("my/recipes/queue/conf/queue.conf", "one\n{{ param.prot }}\n");
    let run = world.run(&["build", "my/cluster.toml"]);
    assert_eq!(run.status, 2, "{}", run.err);
    assert!(run.err.contains("`queue/conf/queue.conf` line 2: undefined value"), "{}", run.err);
    assert!(!world.path("out").exists());
}
