#include "controlplane/cli/cloud_access.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <map>

#include "controlplane/cli/config_choice.h"
#include "controlplane/cli/log_access.h"
#include "events/print.h"
#include "projections/fetch.h"

namespace reprise::cli {
namespace {

using namespace std::chrono_literals;

// 'it'\''s' as a shell reads it; only what openrc_text() writes.
std::string unquoted(std::string_view text) {
  std::string plain;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\'') quoted = !quoted;
    else if (text[i] == '\\' && !quoted && i + 1 < text.size()) plain += text[++i];
    else plain += text[i];
  }
  return plain;
}

Result<Credentials> from_variables(const std::map<std::string, std::string>& set, const std::string& where) {
  const auto value = [&](const char* name) {
    const auto at = set.find(name);
    return at == set.end() ? std::string() : at->second;
  };
  Credentials c{value("OS_AUTH_URL"), value("OS_USERNAME"), value("OS_PASSWORD"), value("OS_PROJECT_NAME")};
  if (c.auth_url.empty() || c.user.empty() || c.password.empty() || c.project.empty())
    return {Errc::invalid,
            fmt::format("{} lacks one of OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME", where)};
  return c;
}

Error refused(const HttpAnswer& answer, const std::string& what) {
  std::string words = answer.body;
  boost::json::error_code bad;
  const auto parsed = boost::json::parse(answer.body, bad);
  if (!bad && parsed.is_object())
    if (const auto* error = parsed.as_object().if_contains("error"); error && error->is_object())
      if (const auto* message = error->as_object().if_contains("message"); message && message->is_string())
        words = std::string(message->as_string());
  const auto code = answer.status == 404   ? Errc::not_found
                    : answer.status >= 500 ? Errc::unreachable
                                           : Errc::denied;
  return {code, fmt::format("{}: {} ({})", what, words, answer.status)};
}

}  // namespace

Result<Credentials> read_openrc(const std::string& text) {
  std::map<std::string, std::string> set;
  std::string_view rest = text;
  while (!rest.empty()) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    constexpr std::string_view word = "export ";
    if (!line.starts_with(word)) continue;
    line.remove_prefix(word.size());
    const auto equals = line.find('=');
    if (equals != line.npos) set[std::string(line.substr(0, equals))] = unquoted(line.substr(equals + 1));
  }
  return from_variables(set, "the openrc");
}

Result<std::optional<Credentials>> find_server(const Common& common) {
  const StateFolder state{common.state};
  const auto openrc = read_file(state.openrc());
  if (openrc) {
    if (!FileLock::is_held(state.lock()))
      return std::optional<Credentials>{};  // nobody serves it: read the folder
    auto credentials = read_openrc(*openrc);
    if (!credentials) return credentials.error();
    return std::optional(std::move(*credentials));
  }
  if (openrc.error().code == Errc::denied) return openrc.error();
  std::map<std::string, std::string> set;
  for (const char* name : {"OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME"})
    if (const char* value = std::getenv(name)) set[name] = value;
  if (!set.contains("OS_AUTH_URL"))
    return {Errc::not_found,
            fmt::format("there is no cloud in {}, and OS_AUTH_URL names no other: `reprise init` makes one, "
                        "--state names another folder",
                        state.dir)};
  auto credentials = from_variables(set, "the environment");
  if (!credentials) return credentials.error();
  return std::optional(std::move(*credentials));
}

Result<OnlineCloud> OnlineCloud::connect(const Credentials& c) {
  auto url = parse_url(c.auth_url);
  if (!url) return url.error();
  OnlineCloud cloud;
  cloud.base_ = *url;
  cloud.base_.path.clear();
  HttpAsk ask{.method = "POST", .url = *url};
  ask.url.path += "/auth/tokens";
  ask.body = fmt::format(
      R"({{"auth":{{"identity":{{"methods":["password"],"password":{{"user":{{"name":{},"domain":{{"id":"default"}},"password":{}}}}}}},)"
      R"("scope":{{"project":{{"name":{},"domain":{{"id":"default"}}}}}}}}}})",
      json_quoted(c.user), json_quoted(c.password), json_quoted(c.project));
  const auto answer = http_call(ask);
  if (!answer) return answer.error();
  if (answer->status != 201)
    return refused(*answer, fmt::format("the server at {} gives {} no token", c.auth_url, c.user));
  cloud.token_ = answer->header("x-subject-token");
  return cloud;
}

HttpAsk OnlineCloud::ask_for(const std::string& path) const {
  HttpAsk ask{.url = base_, .headers = {{"X-Auth-Token", token_}}};
  ask.url.path = path;
  return ask;
}

Result<std::string> OnlineCloud::get(const std::string& path) const {
  auto answer = http_call(ask_for(path));
  if (!answer) return answer.error();
  if (answer->status != 200) return refused(*answer, path);
  return std::move(answer->body);
}

Result<std::string> OnlineCloud::post(const std::string& path, std::string body) const {
  HttpAsk ask = ask_for(path);
  ask.method = "POST";
  ask.body = std::move(body);
  auto answer = http_call(ask);
  if (!answer) return answer.error();
  if (answer->status != 200) return refused(*answer, path);
  return std::move(answer->body);
}

Status OnlineCloud::lines(const std::string& path,
                          const std::function<bool(std::string_view)>& on_line) const {
  const auto answer = http_lines(ask_for(path), on_line);
  if (!answer) return answer.error();
  if (answer->status != 200) return refused(*answer, path);
  return {};
}

Result<OfflineCloud> OfflineCloud::open(const Common& common) {
  OfflineCloud cloud;
  cloud.state_ = StateFolder{common.state};
  const auto config = choose_config(common);
  if (!config) return config.error();
  cloud.place_ = config->log.place;
  if (!file_exists(cloud.state_.projection()))
    return {Errc::not_found,
            fmt::format("nothing was folded in {} yet: start it with `reprise serve`, or prove its log with "
                        "`reprise verify`",
                        common.state)};
  auto store = Store::open({.dir = cloud.state_.projection(), .read_only = true});
  if (!store) return store.error();
  cloud.snapshot_ = (*store)->snapshot();
  return cloud;
}

Result<std::vector<StoredRecord>> OfflineCloud::read_records(Seq from, std::size_t max) const {
  const View now = view();
  std::vector<StoredRecord> records;
  for (Seq seq = from; seq <= now.seq() && records.size() < max; ++seq) {
    const auto line = now.line_of(seq);
    if (!line) return now.status().error();
    if (auto bytes = now.tail(seq)) {
      records.push_back({seq, line->hash, line->offset, std::move(*bytes)});
      continue;
    }
    if (!log_) {
      auto log = open_log(place_, state_, LogMode::read_only);
      if (!log) return log.error();
      log_ = std::move(*log);
    }
    auto entries = fetch(*log_, Topic::events, line->offset, 1, 10s);
    if (!entries) return entries.error();
    records.push_back({seq, line->hash, line->offset, std::move(entries->front().bytes)});
  }
  return records;
}

}  // namespace reprise::cli
