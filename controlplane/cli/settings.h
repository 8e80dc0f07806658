// Every key of the configuration, once: where it goes, what it means, what it may be. The parser, the
// reference file and the tests are all made from this list.
#pragma once

#include <limits>

#include "controlplane/cli/config.h"

namespace reprise::cli {

// What a text may be, beyond being one line of UTF-8 without control characters.
enum class TextRule { any, name, log_place, listen_address, url, path };

struct Text {
  TextRule rule = TextRule::any;
  bool may_be_empty = false;
};
struct Words {
  std::vector<std::string_view> words;
};
struct Whole {
  std::int64_t least = 0;
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
};
struct Truth {};
struct Real {
  double least = 0;
  double most = 0;
};

// f(section, key, field, rule, doc) for each. Sections in order.
template <class C, class F>
void each_setting(C& c, F&& f) {
  f("cloud", "name", c.name, Text{TextRule::name}, "shown by status and in the openrc");
  f("cloud", "roles", c.roles, Words{{"api", "controller", "agent"}},
    "what this process does; an embedded log wants api and controller");

  f("api", "listen", c.api.listen, Text{TextRule::listen_address},
    "address to listen on; anything but loopback opens the cloud to the network");
  f("api", "port", c.api.port, Whole{1, 65535}, "one port for all services");
  f("api", "public_url", c.api.public_url, Text{TextRule::url, true},
    "how clients reach it, for the service catalog; empty: http://LISTEN:PORT");
  f("api", "threads", c.api.threads, Whole{1, 64}, "threads that serve connections");
  f("api", "connections_max", c.api.connections_max, Whole{16, 100'000},
    "open connections; more are answered 503");
  f("api", "body_kib_max", c.api.body_kib_max, Whole{64, 65536},
    "largest request body, in KiB (image data is not one)");
  f("api", "image_gib_max", c.api.image_gib_max, Whole{1, 65536},
    "largest image that may be uploaded, in GiB");
  f("api", "rate_per_second", c.api.rate_per_second, Real{0.1, 1e6},
    "writing requests per project and second, on the long run");
  f("api", "rate_burst", c.api.rate_burst, Real{1, 1e7}, "writing requests per project at once");
  f("api", "token_s", c.api.token_s, Whole{60, 31 * 86400}, "how long a token is good, in seconds");
  f("api", "intent_ms", c.api.intent_ms, Whole{1000, 600'000},
    "how long an intent may wait for its decision, in milliseconds");
  f("api", "password_threads", c.api.password_threads, Whole{1, 32}, "threads that hash passwords");

  f("log", "place", c.log.place, Text{TextRule::log_place},
    "\"embedded\" (in the state folder), \"embedded:DIR\", or \"kafka:HOST:PORT[,HOST:PORT]/CLUSTER\"");

  f("controller", "lease_ms", c.controller.lease_ms, Whole{1000, 3'600'000},
    "a node that is not heard of for so long is lost, in milliseconds");
  f("controller", "claim_deadline_ms", c.controller.claim_deadline_ms, Whole{500, 600'000},
    "a claim that is not read back by then is given up");
  f("controller", "append_deadline_ms", c.controller.append_deadline_ms, Whole{500, 600'000},
    "a record that is not read back by then ends the claim");
  f("controller", "batch_max", c.controller.batch_max, Whole{1, 4096}, "decisions in one record");
  f("controller", "pipeline_max", c.controller.pipeline_max, Whole{1, 64}, "records under way at once");

  f("verify", "cpu_share", c.verify.cpu_share, Real{0, 1},
    "of one core, for verifying the whole log in the background; 0: it is not verified");
  f("verify", "pause_h", c.verify.pause_h, Whole{0, 10'000}, "from the end of a verification to the next, in hours");

  f("history", "keep_days", c.history.keep_days, Whole{0, 36'500},
    "how far back the past can be read, in days; 0: to the beginning (the log keeps everything)");

  f("agent", "node", c.agent.node, Text{TextRule::name, true}, "this node's name; empty: the host's");
  f("agent", "zone", c.agent.zone, Text{TextRule::name}, "availability zone");
  f("agent", "address", c.agent.address, Text{TextRule::listen_address}, "where other nodes reach this one");
  f("agent", "compute", c.agent.compute, Words{{"libvirt", "simulated"}}, "compute driver");
  f("agent", "storage", c.agent.storage, Words{{"local", "simulated"}}, "storage driver");
  f("agent", "network", c.agent.network, Words{{"ovs", "simulated"}}, "network driver");
  f("agent", "cpu_ratio", c.agent.cpu_ratio, Real{0.1, 64}, "virtual cpus offered per cpu of the host");
  f("agent", "reserved_ram_mib", c.agent.reserved_ram_mib, Whole{0, 1 << 24},
    "memory of the host that servers do not get, in MiB");
  f("agent", "reserved_disk_gib", c.agent.reserved_disk_gib, Whole{0, 1 << 24},
    "disk of the host that servers do not get, in GiB");

  f("simulated", "nodes", c.simulated.nodes, Whole{1, 10'000},
    "nodes in this process, when all three drivers are simulated");
  f("simulated", "vcpus", c.simulated.vcpus, Whole{1, 100'000}, "of each");
  f("simulated", "ram_mib", c.simulated.ram_mib, Whole{64, 1 << 28}, "of each, in MiB");
  f("simulated", "disk_gib", c.simulated.disk_gib, Whole{1, 1 << 28}, "of each, in GiB");
  f("simulated", "storage_pool", c.simulated.storage_pool, Text{TextRule::name, true},
    "the storage that they all share, each with its part of it; empty: each has disks of its own");

  f("libvirt", "uri", c.libvirt.uri, Text{TextRule::url}, "libvirt's connection URI");
  f("libvirt", "virtualization", c.libvirt.virtualization, Words{{"auto", "kvm", "tcg"}},
    "auto: KVM where a probe guest really boots, else TCG");
  f("libvirt", "emulator", c.libvirt.emulator, Text{TextRule::path}, "QEMU's program");
  f("libvirt", "domain_logs", c.libvirt.domain_logs, Text{TextRule::path},
    "where libvirt writes a log per domain");

  f("local", "directory", c.local.directory, Text{TextRule::path, true},
    "disks and cached images; empty: storage in the state folder");

  f("ovs", "start", c.ovs.start, Truth{},
    "start and keep ovsdb-server and ovs-vswitchd where nobody else runs them");
  f("ovs", "switch_dir", c.ovs.switch_dir, Text{TextRule::path},
    "Open vSwitch's run folder, with db.sock in it");
  f("ovs", "bridge", c.ovs.bridge, Text{TextRule::name},
    "the bridge that servers are on; it is made if need be");
  f("ovs", "datapath", c.ovs.datapath, Words{{"auto", "system", "netdev"}},
    "auto: the kernel's where it has one, else netdev");
  f("ovs", "uplink", c.ovs.uplink, Text{TextRule::name, true},
    "interface that carries the VLANs to other nodes; empty: none");
  f("ovs", "run_dir", c.ovs.run_dir, Text{TextRule::path}, "what DHCP needs while it runs");
  f("ovs", "dnsmasq", c.ovs.dnsmasq, Text{TextRule::path}, "dnsmasq's program");

  f("images", "directory", c.images.directory, Text{TextRule::path, true},
    "image data; empty: images in the state folder");
  f("images", "reserve_mib", c.images.reserve_mib, Whole{0, 1 << 24},
    "of its file system, in MiB, that uploads leave free");

  f("checkpoints", "directory", c.checkpoints.directory, Text{TextRule::path, true},
    "where a projection that is not there yet begins from, and new ones go; empty: checkpoints in the state folder");
  f("checkpoints", "every_records", c.checkpoints.every_records, Whole{0},
    "one after so many records; 0: only when asked by `reprise checkpoint`");
  f("checkpoints", "keep", c.checkpoints.keep, Whole{1, 1000}, "how many; older ones are removed");
}

}  // namespace reprise::cli
