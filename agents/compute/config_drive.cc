#include "agents/compute/config_drive.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "agents/core/child_process.h"

namespace reprise::compute {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::chrono::seconds genisoimage_deadline{60};

Status write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) return {};
  return {errno == ENOSPC ? Errc::no_space : Errc::broken,
          fmt::format("cannot write {}: {}", path.string(), std::strerror(errno))};
}

Status write_tree(const ServerWant& server, const std::vector<std::uint8_t>& user_data,
                  const fs::path& root) {
  const auto latest = root / "openstack" / "latest";
  std::error_code error;
  fs::remove_all(root, error);
  fs::create_directories(latest, error);
  if (error) return {Errc::broken, fmt::format("cannot make {}: {}", latest.string(), error.message())};
  if (auto done = write_file(latest / "meta_data.json", meta_data_json(server)); !done) return done;
  if (auto done = write_file(latest / "network_data.json", network_data_json(server)); !done) return done;
  if (auto done = write_file(latest / "vendor_data.json", "{}"); !done) return done;
  if (user_data.empty()) return {};
  return write_file(latest / "user_data", std::string(user_data.begin(), user_data.end()));
}

Status burn(const std::string& tree, const std::string& iso) {
  const auto end = run_child({"genisoimage", "-quiet", "-o", iso, "-V", "config-2", "-r", "-J", tree},
                             genisoimage_deadline);
  if (!end) return {end.error().code, end.error().text + " (package genisoimage)"};
  if (!end->well()) {
    const bool full = end->err.find("No space left") != std::string::npos;
    return {full ? Errc::no_space : Errc::broken, "genisoimage: " + end->words()};
  }
  return {};
}

}  // namespace

std::string meta_data_json(const ServerWant& server) {
  json::object meta;
  const auto& pairs = server.guest.metadata;
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) meta[pairs[i]] = pairs[i + 1];
  json::object data{{"uuid", server.id.str()},
                    {"name", server.name},
                    {"hostname", server.guest.hostname},
                    {"launch_index", 0},
                    {"availability_zone", server.guest.availability_zone},
                    {"project_id", server.guest.project.hex()},
                    {"meta", meta}};
  if (!server.guest.public_key.empty()) {
    data["public_keys"] = json::object{{server.guest.key_name, server.guest.public_key}};
    data["keys"] = json::array{
        json::object{{"name", server.guest.key_name}, {"type", "ssh"}, {"data", server.guest.public_key}}};
  }
  return json::serialize(data);
}

std::string network_data_json(const ServerWant& server) {
  json::array links, networks;
  for (const auto& nic : server.nics) {
    const auto link = tap_name(nic.port);
    links.push_back(json::object{{"id", link},
                                 {"vif_id", nic.port.str()},
                                 {"type", "ovs"},
                                 {"mtu", nic.mtu},
                                 {"ethernet_mac_address", nic.mac.str()}});
    networks.push_back(json::object{
        {"id", fmt::format("network{}", networks.size())}, {"type", "ipv4_dhcp"}, {"link", link}});
  }
  return json::serialize(json::object{{"links", links}, {"networks", networks}, {"services", json::array{}}});
}

Status make_config_drive(const ServerWant& server, const std::vector<std::uint8_t>& user_data,
                         const std::string& scratch, const std::string& path) {
  const auto tree = scratch + "/tree";
  const auto iso = scratch + "/config.iso";
  auto made = write_tree(server, user_data, tree);
  if (made) made = burn(tree, iso);
  std::error_code error;
  fs::remove_all(tree, error);
  if (made && (chmod(iso.c_str(), 0600) != 0 || rename(iso.c_str(), path.c_str()) != 0))
    made = {Errc::broken, fmt::format("cannot name {} {}: {}", iso, path, std::strerror(errno))};
  if (made) return made;
  fs::remove(iso, error);
  return {made.error().code,
          fmt::format("config drive of server {}: {}", server.id.str(), made.error().text)};
}

}  // namespace reprise::compute
