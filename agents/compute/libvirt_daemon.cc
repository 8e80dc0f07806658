#include "agents/compute/libvirt_daemon.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace reprise::compute {
namespace {

constexpr const char* ours_line = "# Written by Reprise, because the host had none.\n";

bool answers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  if (fd >= 0) close(fd);
  return connected;
}

Status write(const std::string& path, const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  std::ofstream file(path);
  file << text;
  file.close();
  return file ? Status{} : Status{Errc::denied, fmt::format("cannot write {}: {}", path, std::strerror(errno))};
}

bool is_ours(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  return std::getline(file, line) && line + "\n" == ours_line;
}

// Only root reaches the socket; QEMU runs as root, because it opens disks and taps that the agents made.
Status write_configs(const LibvirtDaemonConfig& config) {
  std::string daemon = fmt::format(
      "{}auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\nunix_sock_group = \"root\"\nunix_sock_rw_perms = \"0700\"\n"
      "log_outputs = \"3:stderr\"\n",
      ours_line);
  if (!config.host_uuid.empty()) daemon += fmt::format("host_uuid = \"{}\"\n", config.host_uuid);
  if (auto done = write(config.config, daemon); !done) return done;
  std::error_code error;
  if (std::filesystem::exists(config.qemu_config, error)) return {};
  return write(config.qemu_config, fmt::format("{}security_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\n"
                                               "dynamic_ownership = 0\nremember_owner = 0\nnamespaces = [ ]\n"
                                               "cgroup_controllers = [ ]\nstdio_handler = \"file\"\n",
                                               ours_line));
}

}  // namespace

DaemonSpec libvirtd_spec(const LibvirtDaemonConfig& config) {
  DaemonSpec spec;
  spec.name = "libvirtd";
  spec.mark = "--config=" + config.config;
  spec.argv = {config.program, spec.mark, "--pid-file=" + config.pid_dir + "/libvirtd.own.pid"};
  spec.pid_file = config.pid_dir + "/libvirtd.pid";
  spec.log_file = config.log_dir + "/libvirtd.log";
  spec.ready_file = config.socket;
  return spec;
}

Result<LibvirtIs> ensure_libvirtd(Supervisor& supervisor, const LibvirtDaemonConfig& config) {
  const DaemonSpec spec = libvirtd_spec(config);
  if (!Supervisor::running(spec.pid_file) && answers(config.socket)) return LibvirtIs::the_hosts;
  std::error_code error;
  for (const auto& folder : {config.pid_dir, config.log_dir, std::string("/run/libvirt"), std::string("/var/lib/libvirt"),
                             std::string("/var/log/libvirt/qemu"), std::string("/var/cache/libvirt")})
    std::filesystem::create_directories(folder, error);
  if (auto written = write_configs(config); !written) return written.error();
  if (auto kept = supervisor.keep(spec); !kept) return kept.error();
  return LibvirtIs::ours;
}

Status stop_libvirtd(Supervisor& supervisor, const LibvirtDaemonConfig& config) { return supervisor.stop(libvirtd_spec(config)); }

void remove_libvirtd_config(const LibvirtDaemonConfig& config) {
  std::error_code error;
  for (const auto& path : {config.config, config.qemu_config})
    if (is_ours(path)) std::filesystem::remove(path, error);
}

}  // namespace reprise::compute
