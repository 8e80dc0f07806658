#include <fmt/format.h>

#include <algorithm>

#include "controlplane/api/compute.h"
#include "controlplane/api/console_text.h"

namespace reprise::api {
namespace {

constexpr std::size_t console_bytes_max = 256 * 1024;
constexpr std::int64_t console_lines_max = 100'000;

// Of nova; what is missing here says so, and what is no action at all is a mistake.
constexpr std::string_view other_actions[] = {"addFixedIp",
                                              "addFloatingIp",
                                              "addSecurityGroup",
                                              "changePassword",
                                              "confirmResize",
                                              "createBackup",
                                              "createImage",
                                              "evacuate",
                                              "injectNetworkInfo",
                                              "lock",
                                              "migrate",
                                              "os-getRDPConsole",
                                              "os-getSPICEConsole",
                                              "os-getSerialConsole",
                                              "os-getVNCConsole",
                                              "os-migrateLive",
                                              "os-resetState",
                                              "pause",
                                              "rebuild",
                                              "removeFixedIp",
                                              "removeFloatingIp",
                                              "removeSecurityGroup",
                                              "rescue",
                                              "resetNetwork",
                                              "resize",
                                              "restore",
                                              "resume",
                                              "revertResize",
                                              "shelve",
                                              "shelveOffload",
                                              "suspend",
                                              "trigger_crash_dump",
                                              "unlock",
                                              "unpause",
                                              "unrescue",
                                              "unshelve"};

Plan accepted(Ask&) { return Response(202); }

Plan reboot(Ask& ask, const Server& server, Fields& body) {
  auto fields = body.object("reboot");
  const auto type = fields.word("type", {"SOFT", "HARD", "soft", "hard", "Soft", "Hard"});
  fields.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(RebootServer{.id = server.id, .hard = type[0] == 'H' || type[0] == 'h'}, server.id, accepted);
}

Plan console_answer(const Ask& ask, const Result<std::string>& text, std::optional<std::int64_t> lines) {
  if (!text && text.error().code != Errc::not_found) {
    switch (text.error().code) {
      case Errc::unsupported:
        return ask.error(501, text.error().text);
      case Errc::unreachable:
      case Errc::timed_out:
      case Errc::again:
        return ask.error(503, "The console cannot be read now: " + text.error().text);
      default:
        return ask.error(500, "The console cannot be read: " + text.error().text);
    }
  }
  std::string body;
  JsonWriter(body)
      .begin_object()
      .field("output", text ? console_text(*text, lines) : std::string())
      .end_object();
  return json_response(200, std::move(body));
}

// The console's bytes are on the server's node, not in the log.
Plan console(Api& api, Ask& ask, const Server& server, Fields& body) {
  std::optional<std::int64_t> lines;
  if (auto fields = body.optional_object("os-getConsoleOutput")) {
    lines = fields->optional_integer("length", -1, console_lines_max);
    fields->done();
  }
  if (auto bad = ask.bad()) return std::move(*bad);
  if (lines && *lines < 0) lines.reset();
  if (server.tenure == Tenure::none)
    return ask.error(409, fmt::format("Instance {} is not ready: it is on no node.", server.id.str()));
  return Later{[&api, lines, id = server.id, node = server.node](Ask& ask, Later::Resume resume) {
    api.backend().console(id, node, console_bytes_max, [&api, &ask, lines, resume](Result<std::string> text) {
      // On a worker: the caller's thread may be one of the core's.
      const auto shared = std::make_shared<Result<std::string>>(std::move(text));
      const bool posted =
          api.workers().post([&ask, lines, resume, shared] { resume(console_answer(ask, *shared, lines)); });
      if (!posted) resume(ask.error(503, "Too many requests wait to be answered: try again in a second."));
    });
  }};
}

Plan act(Api& api, Ask& ask) {
  const auto server = seen_server(ask);
  if (!server) return no_server(ask, ask.param(0));
  auto body = ask.body();
  const auto keys = body.keys();
  if (auto bad = ask.bad()) return std::move(*bad);
  if (keys.size() != 1)
    return ask.error(400, fmt::format("An action is one field; the body has {}.", keys.size()));
  const auto& action = keys.front();
  const auto id = server->id;
  if (action == "os-start") return Change(StartServer{.id = id}, id, accepted);
  if (action == "os-stop") return Change(StopServer{.id = id}, id, accepted);
  if (action == "forceDelete") return Change(DeleteServer{.id = id}, id, accepted);
  if (action == "reboot") return reboot(ask, *server, body);
  if (action == "os-getConsoleOutput") return console(api, ask, *server, body);
  if (std::find(std::begin(other_actions), std::end(other_actions), action) != std::end(other_actions))
    return not_implemented(
        ask, fmt::format("The action {} of servers is not here yet; there are os-start, os-stop, reboot, "
                         "forceDelete and os-getConsoleOutput",
                         action));
  return ask.error(400, fmt::format("There is no such action: {}", action));
}

}  // namespace

void register_server_actions(Api& api) {
  api.write(Service::compute, Method::post, "/v2.1/servers/{id}/action", Need::member,
            microversioned([&api](Ask& ask) { return act(api, ask); }));
}

}  // namespace reprise::api
