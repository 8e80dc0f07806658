// POST /log/seal: the way of `reprise log copy` to the controller of a log that only this process may write
// to.
#include <fmt/format.h>

#include "controlplane/api/service.h"

namespace reprise::api {
namespace {

constexpr std::size_t place_chars_max = 1024;

Plan seal_log(Ask& ask) {
  Fields body = ask.body();
  const auto log = body.id("log").as<LogId>();  // that the caller means
  SealLog intent{.to = body.id("to").as<LogId>(), .place = body.string("place", 1, place_chars_max)};
  body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const LogId ours = ask.view().store_head().head.log;
  if (log != ours)
    return ask.error(409, fmt::format("This server's log is {}, not {}: ask the server of that log.",
                                      ours.str(), log.str()));
  return Change(std::move(intent), [](Ask& ask) -> Plan {
    std::string answer;
    JsonWriter(answer).begin_object().field("seq", ask.decided().seq).end_object();
    return json_response(200, std::move(answer));
  });
}

}  // namespace

void register_log(Api& api) { api.write(Service::none, Method::post, "/log/seal", Need::admin, seal_log); }

}  // namespace reprise::api
