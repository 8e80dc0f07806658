#include "controlplane/story/object_facts.h"

#include <fmt/format.h>

#include "controlplane/story/names.h"
#include "controlplane/story/state_words.h"

namespace reprise::story {
namespace {

class Writer {
 public:
  Writer(std::string_view kind, std::string id, std::string name) {
    facts_.kind = kind, facts_.id = std::move(id), facts_.name = std::move(name);
  }
  // An object with an id of its own: its records are filed under it.
  template <class Row>
  Writer(std::string_view kind, const Row& row, std::string id) : Writer(kind, std::move(id), row.name) {
    facts_.trail = row.object();
    facts_.marks = {row.id.str()};
  }

  Writer& of(ProjectId project) { return facts_.project = project, *this; }
  Writer& text(std::string_view name, std::string_view value) { return json(name, json_quoted(value)); }
  template <class Number>
  Writer& number(std::string_view name, Number value) {
    return json(name, fmt::format("{}", value));
  }
  Writer& truth(std::string_view name, bool value) { return json(name, value ? "true" : "false"); }
  Writer& texts(std::string_view name, const std::vector<std::string>& values) {
    std::string all;
    for (const auto& value : values) all += (all.empty() ? "" : ",") + json_quoted(value);
    return json(name, "[" + all + "]");
  }
  // Key, value, key, value …
  Writer& pairs(std::string_view name, const std::vector<std::string>& flat) {
    std::string all;
    for (std::size_t i = 0; i + 1 < flat.size(); i += 2)
      all += fmt::format("{}{}:{}", all.empty() ? "" : ",", json_quoted(flat[i]), json_quoted(flat[i + 1]));
    return json(name, "{" + all + "}");
  }
  Writer& for_admins() { return facts_.fields.back().admin = true, *this; }
  Writer& secret(std::string_view name, std::string_view value) {
    text(name, value);
    return facts_.fields.back().secret = true, *this;
  }

  ObjectFacts& facts() { return facts_; }
  ObjectFacts done() { return std::move(facts_); }

 private:
  Writer& json(std::string_view name, std::string value) {
    facts_.fields.push_back({name, std::move(value)});
    return *this;
  }
  ObjectFacts facts_;
};

// The name of what an id refers to, or the id; empty: it refers to nothing.
template <class I>
std::string called(const View& view, I id) {
  if (!id) return {};
  const std::string name = name_of(view, id.template as<AnyId>());
  return name.empty() ? id.str() : name;
}

template <class Items, class F>
std::vector<std::string> words_of(const Items& items, F&& word) {
  std::vector<std::string> words;
  for (const auto& item : items) words.push_back(word(item));
  return words;
}

}  // namespace

ObjectFacts facts_of(const View& view, const Server& s) {
  return Writer("server", s, s.id.str())
      .of(s.project)
      .text("name", s.name)
      .text("status", server_status_word(s))
      .text("task_state", task_state_word(s.task))
      .text("fault", s.fault)
      .text("host", s.tenure == Tenure::none ? "" : called(view, s.node))
      .for_admins()
      .text("flavor", s.flavor_name)
      .text("image", called(view, s.image))
      .text("key_name", s.key_name)
      .text("availability_zone", s.zone)
      .text("description", s.description)
      .pairs("metadata", s.metadata)
      .done();
}

ObjectFacts facts_of(const View& view, const Volume& v) {
  return Writer("volume", v, v.id.str())
      .of(v.project)
      .text("name", v.name)
      .text("status", volume_status_word(v.status))
      .number("size", v.size_gib)
      .text("server", called(view, v.server))
      .text("device", v.device)
      .text("host", called(view, v.node))
      .for_admins()
      .text("image", called(view, v.image))
      .text("availability_zone", v.zone)
      .text("fault", v.fault)
      .text("description", v.description)
      .pairs("metadata", v.metadata)
      .done();
}

ObjectFacts facts_of(const View& view, const Port& p) {
  return Writer("port", p, p.id.str())
      .of(p.project)
      .text("name", p.name)
      .text("status", port_status_word(p.status))
      .text("network", called(view, p.network))
      .texts("fixed_ips", words_of(p.fixed, [](const FixedIp& ip) { return ip.address.str(); }))
      .text("mac_address", p.mac.str())
      .text("device", called(view, p.server))
      .text("device_owner", p.device_owner)
      .truth("admin_state_up", p.admin_up)
      .text("description", p.description)
      .done();
}

ObjectFacts facts_of(const View&, const Network& n) {
  return Writer("network", n, n.id.str())
      .of(n.project)
      .text("name", n.name)
      .truth("admin_state_up", n.admin_up)
      .truth("shared", n.shared)
      .number("mtu", n.mtu)
      .number("provider:segmentation_id", n.vlan)
      .for_admins()
      .text("description", n.description)
      .done();
}

ObjectFacts facts_of(const View& view, const Subnet& s) {
  return Writer("subnet", s, s.id.str())
      .of(s.project)
      .text("name", s.name)
      .text("network", called(view, s.network))
      .text("cidr", s.cidr())
      .text("gateway_ip", s.gateway ? s.gateway.str() : "")
      .truth("enable_dhcp", s.dhcp)
      .texts("allocation_pools",
             words_of(s.pools, [](const AddressRange& r) { return r.first.str() + "-" + r.last.str(); }))
      .texts("dns_nameservers", words_of(s.dns, [](Ipv4 address) { return address.str(); }))
      .text("description", s.description)
      .done();
}

ObjectFacts facts_of(const View&, const Image& i) {
  return Writer("image", i, i.id.str())
      .of(i.project)
      .text("name", i.name)
      .text("status", image_status_word(i.status))
      .text("visibility", visibility_word(i.visibility))
      .truth("protected", i.is_protected)
      .number("size", i.size)
      .text("checksum", i.md5)
      .text("disk_format", i.disk_format)
      .text("container_format", i.container_format)
      .number("min_disk", i.min_disk_gib)
      .number("min_ram", i.min_ram_mib)
      .pairs("properties", i.properties)
      .texts("tags", i.tags)
      .done();
}

ObjectFacts facts_of(const View& view, const Keypair& k) {
  Writer writer("keypair", k.id.name, k.id.name);
  writer.text("user", called(view, k.id.user)).text("fingerprint", k.fingerprint);
  writer.facts().project = k.project;
  writer.facts().user = k.id.user;
  writer.facts().trail = k.id.user.as<AnyId>();
  writer.facts().marks = {k.id.user.str(), json_quoted(k.id.name)};
  return writer.done();
}

ObjectFacts facts_of(const View&, const Flavor& f) {
  Writer writer("flavor", f.id, f.name);
  writer.text("name", f.name).number("vcpus", f.vcpus).number("ram", f.ram_mib).number("disk", f.disk_gib);
  writer.truth("os-flavor-access:is_public", f.is_public);
  writer.facts().marks = {"Flavor", json_quoted(f.id)};
  return writer.done();
}

ObjectFacts facts_of(const View&, const Project& p) {
  return Writer("project", p, p.id.hex())
      .text("name", p.name)
      .truth("enabled", p.enabled)
      .text("description", p.description)
      .done();
}

ObjectFacts facts_of(const View& view, const User& u) {
  return Writer("user", u, u.id.hex())
      .text("name", u.name)
      .truth("enabled", u.enabled)
      .secret("password", u.password_hash)
      .text("default_project", called(view, u.default_project))
      .text("email", u.email)
      .text("description", u.description)
      .done();
}

ObjectFacts facts_of(const View&, const Role& r) {
  return Writer("role", r, r.id.hex()).text("name", r.name).text("description", r.description).done();
}

ObjectFacts facts_of(const View& view, const RoleAssignment& a) {
  const auto& [project, user, role] = a.id;
  Writer writer("role assignment", fmt::format("{}/{}/{}", project.hex(), user.hex(), role.hex()),
                fmt::format("{} as {} in {}", called(view, user), called(view, role), called(view, project)));
  writer.facts().trail = user.as<AnyId>();
  writer.facts().marks = {project.str(), user.str(), role.str()};
  return writer.done();
}

ObjectFacts facts_of(const View& view, const Quota& q) {
  Writer writer("quota", q.project.hex(), called(view, q.project));
  for (std::size_t i = 0; i < resource_count; ++i)
    writer.number(resource_name(static_cast<Resource>(i)), i < q.limits.size() ? q.limits[i] : default_limits[i]);
  writer.facts().trail = q.project.as<AnyId>();
  writer.facts().marks = {"QuotaSet", q.project.str()};
  return writer.done();
}

ObjectFacts facts_of(const View&, const Node& n) {
  return Writer("node", n, n.id.str())
      .text("name", n.name)
      .text("state", node_status(n))
      .text("reason", n.reason)
      .text("zone", n.zone)
      .text("host_ip", n.address)
      .number("vcpus", n.vcpus)
      .number("memory_mb", n.ram_mib)
      .number("local_gb", n.disk_gib)
      .text("compute_driver", n.compute_driver)
      .text("storage_driver", n.storage_driver)
      .text("network_driver", n.network_driver)
      .text("version", n.version)
      .text("storage_pool", n.storage_pool)
      .number("storage_identity", n.identity())
      .truth("fenced", n.fenced)
      .done();
}

ObjectFacts facts_of(const View&, const Cloud& c) {
  Writer writer("cloud", c.id.str(), c.name);
  writer.text("controller", c.controller.str()).text("controller_host", c.controller_host);
  writer.number("level", c.level).text("log", c.log.str()).text("sealed_to", c.sealed_place);
  writer.number("intents_lost", c.intents_lost);
  return writer.done();
}

}  // namespace reprise::story
