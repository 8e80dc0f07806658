#include "agents/network/ovs_daemons.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "agents/core/child_process.h"

namespace reprise::network {
namespace {

constexpr std::chrono::milliseconds tool_within{30'000};

std::string database_socket(const OvsDaemonsConfig& config) { return config.run_dir + "/db.sock"; }

// Somebody listens there. One that hangs, with its queue full, does so too: nobody is kept waiting for it.
bool answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool connected =
      fd >= 0 && (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN);
  if (fd >= 0) close(fd);
  return connected;
}

Status make_database(const OvsDaemonsConfig& config) {
  std::error_code error;
  if (std::filesystem::exists(config.database, error)) return {};
  std::filesystem::create_directories(std::filesystem::path(config.database).parent_path(), error);
  // Under another name first: half a database would be refused at every start.
  const std::string fresh = config.database + ".new";
  std::filesystem::remove(fresh, error);
  auto made = run_child({config.tool, "create", fresh, config.schema}, tool_within);
  if (!made) return made.error();
  if (!made->well())
    return {Errc::denied,
            fmt::format("cannot make Open vSwitch's database {}: {}", config.database, made->words())};
  std::filesystem::rename(fresh, config.database, error);
  if (error) return {Errc::denied, fmt::format("cannot make {}: {}", config.database, error.message())};
  return {};
}

}  // namespace

DaemonSpec ovsdb_server_spec(const OvsDaemonsConfig& config) {
  DaemonSpec spec;
  spec.name = "ovsdb-server";
  spec.mark = "--remote=punix:" + database_socket(config);
  spec.argv = {config.server, config.database, spec.mark, "-vsyslog:off", "-vconsole:warn"};
  spec.pid_file = config.pid_dir + "/ovsdb-server.pid";
  spec.log_file = config.log_dir + "/ovsdb-server.log";
  spec.ready_file = database_socket(config);
  return spec;
}

// Its own pid file, in the place where ovs-appctl looks for it, is written once it is up.
DaemonSpec vswitchd_spec(const OvsDaemonsConfig& config) {
  DaemonSpec spec;
  spec.name = "ovs-vswitchd";
  spec.ready_file = config.run_dir + "/ovs-vswitchd.pid";
  spec.mark = "--pidfile=" + spec.ready_file;
  spec.argv = {config.vswitchd, "unix:" + database_socket(config), spec.mark, "-vsyslog:off",
               "-vconsole:warn"};
  spec.pid_file = config.pid_dir + "/ovs-vswitchd.pid";
  spec.log_file = config.log_dir + "/ovs-vswitchd.log";
  return spec;
}

Result<OvsIs> ensure_ovs(Supervisor& supervisor, const OvsDaemonsConfig& config) {
  const DaemonSpec server = ovsdb_server_spec(config);
  if (!Supervisor::running(server.pid_file) && answers(database_socket(config))) return OvsIs::the_hosts;
  std::error_code error;
  for (const auto& folder : {config.run_dir, config.pid_dir, config.log_dir})
    std::filesystem::create_directories(folder, error);
  if (auto made = make_database(config); !made) return made.error();
  for (const auto& spec : {server, vswitchd_spec(config)})
    if (auto kept = supervisor.keep(spec); !kept) return kept.error();
  return OvsIs::ours;
}

Status stop_ovs(Supervisor& supervisor, const OvsDaemonsConfig& config) {
  auto stopped = supervisor.stop(vswitchd_spec(config));
  auto also = supervisor.stop(ovsdb_server_spec(config));
  return stopped ? also : stopped;
}

}  // namespace reprise::network
