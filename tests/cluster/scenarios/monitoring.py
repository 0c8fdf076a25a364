"""Monitoring: Prometheus reports every node's target up, and sees the one whose power is cut."""

from stage import Check

API = "curl --silent --fail --max-time 20 --get http://127.0.0.1:9090/api/v1/query --data-urlencode"
# The instance is a name or an address, as the recipe will have it; node_exporter's port is 9100 (its registration).
UP = f"{API} 'query=up' | jq -r '.data.result[] | select(.metric.instance | endswith(\":9100\")) | .value[1]' | sort"
KINDS = f"{API} 'query=count(count by (nodename) (node_uname_info))' | jq -r '.data.result[0].value[1]'"

CHECKS = [
    Check("*", "node_exporter answers",
          "curl --silent --fail --max-time 20 http://127.0.0.1:9100/metrics | grep -c ^node_", r"\A[1-9][0-9]+\Z"),
    Check("node1", "every target is up", UP, r"\A1\n1\n1\Z"),
    Check("node1", "each is another node", KINDS, r"\A3\Z"),
]


def play(stage):
    stage.start_in_order()
    stage.settle()
    stage.common()
    stage.ask_all(CHECKS)
    stage.cut_power("node3")
    stage.ask_all([Check("node1", "a node without power is down", UP, r"\A0\n1\n1\Z")])
    stage.start("node3")
    stage.settle("node3")
    stage.ask_all([Check("node1", "and up again", UP, r"\A1\n1\n1\Z")])
