#include "tests/sim/calm.h"

#include <fmt/format.h>

namespace reprise::sim {
namespace {

class Choice {
 public:
  Choice(const State& state, const Actor& admin, bool may_create, Prng prng)
      : s_(state), admin_(admin), may_create_(may_create), prng_(prng) {}

  std::optional<CalmWish> draw() {
    const Server* server = any<Server>(s_.servers, [](const Server& row) { return row.status != ServerStatus::error; });
    const Volume* volume = any<Volume>(s_.volumes, [this](const Volume& row) {
      const Server* of = s_.servers.find(row.server);
      return row.status != VolumeStatus::error && (!of || of->status != ServerStatus::error);
    });
    const auto what = prng_.below(10);
    if (what == 0 || (!server && what < 7)) return create();
    if (what < 6) return power(*server);
    if (what == 6) return remove(*server);
    if (!volume) return create();
    if (what < 9) return attachment(*volume, server);
    return remove(*volume);
  }

 private:
  template <class Row>
  const Row* any(const Table<Row>& table, const std::function<bool(const Row&)>& fits) {
    std::vector<const Row*> found;
    table.each([&](const Row& row) { if (fits(row)) found.push_back(&row); });
    return found.empty() ? nullptr : found[prng_.below(found.size())];
  }
  template <class T>
  CalmWish wish(T body, AnyId object, ProjectId project, std::string name, std::function<std::string(const State&)> unmet) {
    CalmWish made{.name = std::move(name), .unmet = std::move(unmet)};
    made.intent.user = admin_.user;
    made.intent.project = project;
    made.intent.object = object;
    made.intent.set(std::move(body));
    return made;
  }
  // The admin acts from its own project, and sees all.
  template <class T>
  CalmWish server_wish(T body, ServerId id, const char* name, ServerStatus goal) {
    return wish(std::move(body), id.as<AnyId>(), admin_.project, name, [id, goal](const State& s) -> std::string {
      const Server* row = s.servers.find(id);
      if (!row) return fmt::format("server {} is gone", id.str());
      if (row->status == goal) return {};
      return fmt::format("server {} has status {} instead of {}, fault: {}", id.str(), static_cast<int>(row->status), static_cast<int>(goal), row->fault);
    });
  }

  std::optional<CalmWish> create() {
    const Image* image = any<Image>(s_.images, [](const Image& row) { return row.status == ImageStatus::active && row.visibility == Visibility::public_; });
    if (!image || !may_create_) return std::nullopt;
    const ServerId id{prng_.next(), prng_.next()};
    // No node may have room for it.
    return wish(CreateServer{.id = id, .name = "calm", .flavor = "42", .image = image->id, .hostname = "calm"}, id.as<AnyId>(), admin_.project, "create",
                [id](const State& s) -> std::string {
                  const Server* row = s.servers.find(id);
                  if (!row) return fmt::format("server {} was made and is gone", id.str());
                  if (row->status == ServerStatus::active || !row->node) return {};
                  return fmt::format("server {} has status {}, fault: {}", id.str(), static_cast<int>(row->status), row->fault);
                });
  }

  CalmWish power(const Server& server) {
    if (server.status == ServerStatus::shutoff) return server_wish(StartServer{.id = server.id}, server.id, "start", ServerStatus::active);
    if (prng_.chance(400)) return server_wish(StopServer{.id = server.id}, server.id, "stop", ServerStatus::shutoff);
    return server_wish(RebootServer{.id = server.id, .hard = prng_.chance(500)}, server.id, "reboot", ServerStatus::active);
  }

  CalmWish remove(const Server& server) {
    return wish(DeleteServer{.id = server.id}, server.object(), admin_.project, "delete", [id = server.id](const State& s) {
      return s.servers.contains(id) ? fmt::format("server {} is still there", id.str()) : "";
    });
  }

  CalmWish remove(const Volume& volume) {
    return wish(DeleteVolume{.id = volume.id}, volume.object(), admin_.project, "delete volume", [id = volume.id](const State& s) {
      return s.volumes.contains(id) ? fmt::format("volume {} is still there", id.str()) : "";
    });
  }

  CalmWish attachment(const Volume& volume, const Server* server) {
    const bool attached = volume.status == VolumeStatus::in_use;
    const auto unmet = [id = volume.id, goal = attached ? VolumeStatus::available : VolumeStatus::in_use](const State& s) -> std::string {
      const Volume* row = s.volumes.find(id);
      if (!row) return fmt::format("volume {} is gone", id.str());
      if (row->status == goal) return {};
      return fmt::format("volume {} has status {} instead of {}, fault: {}", id.str(), static_cast<int>(row->status), static_cast<int>(goal), row->fault);
    };
    if (attached || !server) return wish(DetachVolume{.id = volume.id, .server = volume.server}, volume.object(), admin_.project, "detach", unmet);
    return wish(AttachVolume{.id = volume.id, .server = server->id}, volume.object(), admin_.project, "attach", unmet);
  }

  const State& s_;
  const Actor admin_;
  const bool may_create_;
  Prng prng_;
};

}  // namespace

std::optional<CalmWish> calm_wish(const State& state, const Actor& admin, bool may_create, Prng prng) {
  return Choice(state, admin, may_create, prng).draw();
}

}  // namespace reprise::sim
