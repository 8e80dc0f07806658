// The configuration of one process: a TOML file, every key with a default, a doc and a range.
//
// parse_config() accepts any bytes and finds every mistake in one go: syntax, unknown keys (with the nearest
// known one), wrong types, values out of range, and settings that do not go together; each with its line and
// what to do. documented_config() writes all keys with their docs and defaults: that file is the reference.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "events/result.h"

namespace reprise::cli {

struct ApiConfig {
  std::string listen = "127.0.0.1";
  std::int64_t port = 8700;
  std::string public_url;
  std::int64_t threads = 2;
  std::int64_t connections_max = 4096;
  std::int64_t body_kib_max = 1024;
  std::int64_t image_gib_max = 256;
  double rate_per_second = 500;
  double rate_burst = 2000;
  std::int64_t token_s = 24 * 3600;
  std::int64_t intent_ms = 30'000;
  std::int64_t password_threads = 1;
};

struct LogConfig {
  std::string place = "embedded";
};

struct ControllerConfig {
  std::int64_t lease_ms = 20'000;
  std::int64_t claim_deadline_ms = 10'000;
  std::int64_t append_deadline_ms = 10'000;
  std::int64_t batch_max = 512;
  std::int64_t pipeline_max = 8;
};

struct VerifyConfig {
  double cpu_share = 0.05;
  std::int64_t pause_h = 24;
};

struct HistoryConfig {
  std::int64_t keep_days = 0;
};

struct AgentConfig {
  std::string node;
  std::string zone = "nova";
  std::string address = "127.0.0.1";
  std::string compute = "libvirt";
  std::string storage = "local";
  std::string network = "ovs";
  double cpu_ratio = 8;
  std::int64_t reserved_ram_mib = 1024;
  std::int64_t reserved_disk_gib = 5;
};

struct SimulatedConfig {
  std::int64_t nodes = 1;
  std::int64_t vcpus = 64;
  std::int64_t ram_mib = 256 * 1024;
  std::int64_t disk_gib = 4096;
  std::string storage_pool;
};

struct LibvirtConfig {
  std::string uri = "qemu:///system";
  std::string virtualization = "auto";
  std::string emulator = "/usr/bin/qemu-system-x86_64";
  std::string domain_logs = "/var/log/libvirt/qemu";
};

struct LocalConfig {
  std::string directory;
};

struct OvsConfig {
  bool start = false;
  std::string switch_dir = "/run/openvswitch";
  std::string bridge = "br-int";
  std::string datapath = "auto";
  std::string uplink;
  std::string run_dir = "/run/reprise/network";
  std::string dnsmasq = "/usr/sbin/dnsmasq";
};

struct ImagesConfig {
  std::string directory;
  std::int64_t reserve_mib = 1024;
};

struct CheckpointsConfig {
  std::string directory;
  std::int64_t every_records = 100'000;
  std::int64_t keep = 2;
};

struct Config {
  std::string name = "reprise";
  std::vector<std::string> roles = {"api", "controller", "agent"};
  ApiConfig api;
  LogConfig log;
  ControllerConfig controller;
  VerifyConfig verify;
  HistoryConfig history;
  AgentConfig agent;
  SimulatedConfig simulated;
  LibvirtConfig libvirt;
  LocalConfig local;
  OvsConfig ovs;
  ImagesConfig images;
  CheckpointsConfig checkpoints;

  bool has_role(std::string_view role) const;
};

struct Mistake {
  int line = 0;      // 1 is the first; 0: the file as a whole
  std::string text;  // what is wrong, and what to do
};

struct ParsedConfig {
  Config config;  // what could be read; defaults for the rest
  std::vector<Mistake> mistakes;
};

ParsedConfig parse_config(std::string_view text);

// Reads the file and requires that it has no mistake: invalid, with all of them, one a line.
Result<Config> read_config(const std::string& path);
// "FILE:LINE: TEXT", one a line.
std::string mistakes_text(const std::string& path, const std::vector<Mistake>& mistakes);

// All keys with docs, ranges and defaults, commented out; `place` and `name` are set.
std::string documented_config(std::string_view name, std::string_view log_place);

}  // namespace reprise::cli
