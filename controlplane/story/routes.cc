#include "controlplane/story/routes.h"

#include <fmt/format.h>

#include <charconv>

#include "controlplane/api/moment.h"
#include "controlplane/story/diff.h"
#include "controlplane/story/whatif.h"
#include "controlplane/story/why.h"

namespace reprise::story {
namespace {

using api::Ask;
using api::Plan;

Source source_of(const api::Api& api) {
  return {
      .view_at = [&api](Seq seq) { return api.backend().view_at(seq); },
      .read_records = [&api](Seq first, std::size_t max) { return api.backend().read_records(first, max); }};
}

Plan answer(const Ask& ask, Result<std::string> told) {
  if (told) return api::json_response(200, std::move(*told) + "\n");
  return ask.error(api::moment_status(told.error().code), told.error().text);
}

Result<View> view_of(const Ask& ask, const api::Api& api, std::string_view moment) {
  const auto seq = api::seq_of(ask.view(), moment, ask.now_ms());
  if (!seq) return seq.error();
  return api.backend().view_at(*seq);
}

Plan show_why(Ask& ask, const api::Api& api) {
  return answer(ask, why_json(ask.view(), source_of(api), ask.param(0), ask.query("kind").value_or("")));
}

Plan show_diff(Ask& ask, const api::Api& api) {
  if (!ask.query("from")) return ask.error(400, "from is missing: a seq, or an RFC 3339 time.");
  const auto from = view_of(ask, api, *ask.query("from"));
  if (!from) return answer(ask, from.error());
  const auto to = view_of(ask, api, ask.query("to").value_or(std::to_string(ask.view().seq())));
  if (!to) return answer(ask, to.error());
  const Eyes eyes{
      .admin = ask.actor().rights.admin, .project = ask.actor().project, .user = ask.actor().user};
  return answer(ask, diff_json(*from, *to, source_of(api), eyes));
}

template <class Number>
std::optional<Number> number(Ask& ask, std::string_view key) {
  const auto text = ask.query(key);
  if (!text) return std::nullopt;
  Number number{};
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (failed == std::errc() && end == text->data() + text->size()) return number;
  ask.mistakes().add(std::string(key), "must be a number");
  return std::nullopt;
}

std::optional<std::string> word(const Ask& ask, std::string_view key) {
  const auto text = ask.query(key);
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

std::vector<std::string> words(const Ask& ask, std::string_view key) {
  const auto all = ask.queries(key);
  return {all.begin(), all.end()};
}

Plan show_whatif(Ask& ask, const api::Api& api) {
  WhatIf what{.object = word(ask, "object").value_or(""),
              .kind = word(ask, "kind").value_or(""),
              .flavor = word(ask, "flavor").value_or(""),
              .vcpus = number<std::int64_t>(ask, "vcpus"),
              .ram_mib = number<std::int64_t>(ask, "ram"),
              .disk_gib = number<std::int64_t>(ask, "disk"),
              .zone = word(ask, "zone"),
              .host = word(ask, "host"),
              .without = words(ask, "without"),
              .with = words(ask, "with"),
              .vcpus_times = number<double>(ask, "vcpus_times").value_or(1),
              .ram_times = number<double>(ask, "ram_times").value_or(1),
              .disk_times = number<double>(ask, "disk_times").value_or(1),
              .count = number<std::int64_t>(ask, "count").value_or(1)};
  if (auto bad = ask.bad()) return std::move(*bad);
  if (const auto moment = ask.query("at")) {
    const auto seq = *moment == "now" ? ask.view().seq() : api::seq_of(ask.view(), *moment, ask.now_ms());
    if (!seq) return answer(ask, seq.error());
    what.at = *seq;
  }
  return answer(ask, whatif_json(ask.view(), source_of(api), what));
}

}  // namespace

void register_routes(api::Api& api) {
  api.read(api::Service::none, "/why/{object}", api::Need::admin,
           [&api](Ask&) { return api::on_worker(api, [&api](Ask& ask) { return show_why(ask, api); }); });
  api.read(api::Service::none, "/diff", api::Need::reader,
           [&api](Ask&) { return api::on_worker(api, [&api](Ask& ask) { return show_diff(ask, api); }); });
  api.read(api::Service::none, "/whatif", api::Need::admin,
           [&api](Ask&) { return api::on_worker(api, [&api](Ask& ask) { return show_whatif(ask, api); }); });
}

}  // namespace reprise::story
