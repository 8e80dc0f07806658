#include "agents/compute/config_drive.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "agents/core/child_process.h"
#include "events/hash.h"

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

Status write_tree(const ServerWant& server, const GuestSecrets& secrets, const fs::path& root) {
  const auto latest = root / "openstack" / "latest";
  std::error_code error;
  fs::remove_all(root, error);
  fs::create_directories(latest, error);
  if (error) return {Errc::broken, fmt::format("cannot make {}: {}", latest.string(), error.message())};
  if (auto done = write_file(latest / "meta_data.json", meta_data_json(server, secrets.admin_pass)); !done) return done;
  if (auto done = write_file(latest / "network_data.json", network_data_json(server)); !done) return done;
  if (auto done = write_file(latest / "vendor_data.json", "{}"); !done) return done;
  if (secrets.user_data.empty()) return {};
  return write_file(latest / "user_data", secrets.user_data);
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

std::string meta_data_json(const ServerWant& server, const std::string& admin_pass) {
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
  if (!admin_pass.empty()) data["admin_pass"] = admin_pass;
  return json::serialize(data);
}

namespace {

std::string netmask(std::uint8_t prefix) {
  return Ipv4{prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - std::min<unsigned>(prefix, 32))}.str();
}

// What nova says of an address: where DHCP gives it out, only that; else all that the guest has to set.
json::object network_of(const NicAddress& address, const std::string& id, const std::string& link) {
  if (address.dhcp) return {{"id", id}, {"type", "ipv4_dhcp"}, {"link", link}};
  json::array routes, services;
  if (address.gateway)
    routes.push_back(json::object{
        {"network", "0.0.0.0"}, {"netmask", "0.0.0.0"}, {"gateway", address.gateway.str()}});
  json::array dns;
  for (const auto& server : address.dns) {
    services.push_back(json::object{{"type", "dns"}, {"address", server.str()}});
    dns.push_back(json::string(server.str()));
  }
  return {{"id", id},          {"type", "ipv4"},         {"link", link},
          {"ip_address", address.address.str()}, {"netmask", netmask(address.prefix)},
          {"routes", routes},  {"dns_nameservers", dns}, {"services", services}};
}

}  // namespace

std::string network_data_json(const ServerWant& server) {
  json::array links, networks, services;
  std::set<Ipv4> dns;
  for (const auto& nic : server.nics) {
    const auto link = tap_name(nic.port);
    links.push_back(json::object{{"id", link},
                                 {"vif_id", nic.port.str()},
                                 {"type", "ovs"},
                                 {"mtu", nic.mtu},
                                 {"ethernet_mac_address", nic.mac.str()}});
    for (const auto& address : nic.addresses) {
      networks.push_back(network_of(address, fmt::format("network{}", networks.size()), link));
      for (const auto& one : address.dns)
        if (dns.insert(one).second)
          services.push_back(json::object{{"type", "dns"}, {"address", one.str()}});
    }
  }
  return json::serialize(json::object{{"links", links}, {"networks", networks}, {"services", services}});
}

std::string config_drive_key(const ServerWant& server) {
  std::string all = "1";
  for (const auto& part : {meta_data_json(server), network_data_json(server),
                           std::string(server.guest.user_data_sealed.begin(), server.guest.user_data_sealed.end())})
    all += fmt::format(" {} {}", part.size(), part);
  if (const auto& sealed = server.guest.admin_pass_sealed; !sealed.empty()) all += std::string(sealed.begin(), sealed.end());
  return blake2b(all).hex();
}

Status make_config_drive(const ServerWant& server, const GuestSecrets& secrets, const std::string& scratch,
                         const std::string& path) {
  const auto tree = scratch + "/tree";
  const auto iso = scratch + "/config.iso";
  auto made = write_tree(server, secrets, tree);
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
