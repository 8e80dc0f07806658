#include "controlplane/cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>

namespace reprise::cli {
namespace {

namespace json = boost::json;

// Reads what may be missing: an older server may not say everything.
class Reader {
 public:
  explicit Reader(const json::value* value) : value_(value) {}

  Reader operator[](std::string_view key) const {
    const auto* object = value_ ? value_->if_object() : nullptr;
    return Reader(object ? object->if_contains({key.data(), key.size()}) : nullptr);
  }
  std::string text() const {
    if (!value_ || value_->is_null()) return {};
    if (const auto* text = value_->if_string()) return std::string(*text);
    return json::serialize(*value_);
  }
  bool truth() const { return value_ && value_->is_bool() && value_->get_bool(); }
  std::int64_t number() const {
    if (!value_) return 0;
    if (value_->is_int64()) return value_->get_int64();
    return value_->is_uint64() ? static_cast<std::int64_t>(value_->get_uint64()) : 0;
  }
  bool there() const { return value_ != nullptr; }
  template <class F>
  void each(F&& f) const {
    if (const auto* array = value_ ? value_->if_array() : nullptr)
      for (const auto& item : *array) f(Reader(&item));
  }
  std::size_t size() const { return value_ && value_->is_array() ? value_->get_array().size() : 0; }
  const json::object* object() const { return value_ ? value_->if_object() : nullptr; }

 private:
  const json::value* value_;
};

struct Ink {
  bool on;
  std::string paint(const char* code, const std::string& text) const {
    return on && !text.empty() ? fmt::format("\033[{}m{}\033[0m", code, text) : text;
  }
  std::string dim(const std::string& text) const { return paint("2", text); }
  std::string bold(const std::string& text) const { return paint("1", text); }
  std::string red(const std::string& text) const { return paint("31", text); }
  std::string green(const std::string& text) const { return paint("32", text); }
};

Result<json::value> parse(std::string_view text) {
  json::error_code bad;
  auto value = json::parse({text.data(), text.size()}, bad);
  if (bad) return {Errc::broken, fmt::format("the answer is no JSON: {}", bad.message())};
  return value;
}

// "Type subject key=value …" of an event's JSON.
std::string words_of(const json::object& event) {
  std::string words;
  for (const auto& [key, value] : event) {
    const std::string text = Reader(&value).text();
    if (key == "type" || key == "id") words += (words.empty() ? "" : " ") + text;
    else words += fmt::format(" {}={}", std::string_view(key.data(), key.size()), text);
  }
  return words;
}

std::string status_nodes(const Reader& root, const Ink& ink) {
  std::string text;
  root["nodes"].each([&](const Reader& node) {
    const std::string state = node["state"].text();
    text +=
        fmt::format("  {:<16} {:<12} {}/{} vcpus  {}/{} MiB  {}/{} GiB  {} servers\n", node["name"].text(),
                    state == "up" ? ink.green(state) : ink.red(state), node["vcpus_used"].number(),
                    node["vcpus"].number(), node["ram_mib_used"].number(), node["ram_mib"].number(),
                    node["disk_gib_used"].number(), node["disk_gib"].number(), node["servers"].number());
    if (const auto why = node["reason"].text(); !why.empty()) text += fmt::format("    {}\n", ink.red(why));
    if (const auto why = node["agents_stopped"].text(); !why.empty())
      text += fmt::format("    {}\n", ink.red("its agents stopped: " + why));
    node["agents"].each([&](const Reader& agent) {
      const auto trouble = agent["trouble"].text(), error = agent["last_error"].text();
      text += ink.dim(fmt::format("    {:<8} realized seq {}, {} actions, {} failed\n", agent["kind"].text(),
                                  agent["realized"].number(), agent["actions"].number(),
                                  agent["failures"].number()));
      if (!trouble.empty()) text += fmt::format("      {}\n", ink.red("cannot look at the host: " + trouble));
      if (!error.empty()) text += fmt::format("      {}\n", ink.dim("last failure: " + error));
      if (const auto busy = agent["busy_ms"].number(); busy >= 1000)
        text += fmt::format("      {}\n", ink.dim(fmt::format("at it for {} s: {}", busy / 1000, agent["busy_with"].text())));
    });
  });
  return text;
}

std::string verification_text(const Reader& v, const Ink& ink) {
  if (!v.there()) return {};
  const std::string state = v["state"].text();
  std::string text = "verified ";
  text += v["whole_seq"].number()
              ? fmt::format("up to seq {} at {}", v["whole_seq"].number(), v["whole_at"].text())
              : "not yet up to the head";
  if (const auto next = v["next_at"].text(); !next.empty()) text += ink.dim(", again at " + next);
  else text += fmt::format("; now at seq {} of {}", v["seq"].number(), v["target"].number());
  text += "\n";
  if (const auto why = v["trouble"].text(); !why.empty())
    text += fmt::format("        {}\n", ink.red("waits: " + why));
  if (const auto why = v["broken"].text(); !why.empty())
    text += ink.red(fmt::format(
                "        the log is broken at offset {}, where seq {} should be: {}\n        what to do: {}",
                v["offset"].number(), v["broken_after"].number() + 1, why, v["remedy"].text())) +
            "\n";
  return text;
}

std::string status_roles(const Reader& root, const Ink& ink) {
  if (!root["running"].truth()) return ink.dim("no server runs: this is what its folder holds\n");
  std::string roles;
  root["roles"].each([&](const Reader& role) { roles += (roles.empty() ? "" : ", ") + role.text(); });
  const Reader projection = root["projection"], controller = root["controller"];
  std::string text =
      fmt::format("roles   {}\nlag     projection {} entries{}\n", roles, projection["lag"].number(),
                  projection["caught_up"].truth() ? "" : " (not caught up yet)");
  for (const char* field : {"broken", "trouble", "rebuilt_because"})
    if (const auto why = projection[field].text(); !why.empty())
      text += fmt::format("        {}\n", ink.red(fmt::format("{}: {}", field, why)));
  if (controller.there()) {
    text += fmt::format("controller {} {}, {} decisions\n", controller["role"].text(),
                        controller["id"].text(), controller["decisions"].number());
    for (const char* field : {"reason", "clock"})
      if (const auto why = controller[field].text(); !why.empty()) text += fmt::format("        {}\n", ink.red(why));
    controller["held"].each([&](const Reader& node) {
      text += fmt::format("        {}\n",
                          ink.red("lapsed with many others, held until an admin says go on: " + node.text()));
    });
  }
  return text + verification_text(root["verification"], ink);
}

std::string step_head(const Reader& step, const Ink& ink) {
  const std::string cause = step["cause"].text();
  const Reader intent = step["intent"];
  std::string who = cause == "timer" ? "a deadline passed" : "the controller";
  if (cause == "intent")
    who = fmt::format("{} (project {}) asked: {}",
                      intent["user_name"].text().empty() ? "the cloud itself" : intent["user_name"].text(),
                      intent["project_name"].text(), intent["words"].text());
  if (cause == "report")
    who = fmt::format("{} reported (report {})", step["node_name"].text(), step["report"].number());
  std::string text = fmt::format(
      "{}  {}\n", ink.dim(fmt::format("{}  seq {}", step["at"].text(), step["seq"].number())), ink.bold(who));
  if (cause == "intent")
    text += ink.dim(fmt::format("    request {}{}{}\n", intent["request_id"].text(),
                                intent["client"].text().empty() ? "" : ", from " + intent["client"].text(),
                                intent["key"].text().empty() ? "" : ", key " + intent["key"].text()));
  return text;
}

std::string weighing_text(const Reader& weighed, const Ink& ink) {
  std::string text = fmt::format(
      "    placement looked at {} nodes for {} vCPUs, {} MiB of RAM, {} GiB of disk{}{}\n",
      weighed["considered"].number(), weighed["vcpus"].number(), weighed["ram_mib"].number(),
      weighed["disk_gib"].number(), weighed["zone"].text().empty() ? "" : ", zone " + weighed["zone"].text(),
      weighed["host"].text().empty() ? "" : ", host " + weighed["host"].text());
  weighed["nodes"].each([&](const Reader& node) {
    const bool fits = node["fits"].truth(), chosen = node["chosen"].truth();
    const std::string line =
        fits ? fmt::format("      {:<20} fits, weight {}{}", node["name"].text(), node["weight"].number(),
                           chosen ? "  <- chosen" : "")
             : fmt::format("      {:<20} {}", node["name"].text(), node["verdict"].text());
    text += (chosen ? ink.green(line) : fits ? line : ink.red(line)) + "\n";
  });
  if (const auto left = weighed["considered"].number() - static_cast<std::int64_t>(weighed["nodes"].size());
      left > 0)
    text += fmt::format("      … and {} more\n", left);
  return text;
}

std::string quoted_if_empty(const Reader& value) { return value.text().empty() ? "\"\"" : value.text(); }

std::string diff_fields(const Reader& object, const Ink& ink) {
  std::string text;
  object["fields"].each([&](const Reader& field) {
    const Reader from = field["from"], to = field["to"];
    std::string value;
    if (field["secret"].truth()) value = ink.dim("(a secret, not shown)");
    else if (from.there() && to.there())
      value = fmt::format("{} → {}", ink.red(quoted_if_empty(from)), ink.green(quoted_if_empty(to)));
    else value = quoted_if_empty(from.there() ? from : to);
    text += fmt::format("    {:<18} {}\n", field["name"].text(), value);
  });
  return text;
}

// Who or what made the decision, in short.
std::string cause_words(const Reader& step) {
  const Reader intent = step["intent"];
  if (step["cause"].text() == "report") {
    const std::string node = step["node_name"].text();
    return (node.empty() ? "a node" : node) + " reported";
  }
  if (!intent.there()) return step["cause"].text() == "timer" ? "a deadline passed" : "the controller";
  const std::string user = intent["user_name"].text();
  return fmt::format("{}{} asked {}{}", user.empty() ? "somebody" : user,
                     user.empty() ? "" : " (project " + intent["project_name"].text() + ")",
                     intent["type"].text(), user.empty() ? "" : " (" + intent["request_id"].text() + ")");
}

std::string diff_step(const Reader& step, const Ink& ink) {
  std::string events;
  step["events"].each(
      [&](const Reader& event) { events += (events.empty() ? "" : ", ") + event["event"]["type"].text(); });
  return fmt::format("    {} {}{}\n",
                     ink.dim(fmt::format("seq {:<6} {}", step["seq"].number(), step["at"].text())),
                     cause_words(step), events.empty() ? "" : ": " + events);
}

std::string diff_object(const Reader& object, const Ink& ink) {
  const std::string change = object["change"].text();
  const std::string name = object["name"].text(), id = object["id"].text();
  const std::string head = fmt::format("{} {} {}",
                                       change == "made"      ? "+"
                                       : change == "deleted" ? "-"
                                                             : "~",
                                       object["kind"].text(), name.empty() ? id : name);
  std::string text = fmt::format("{}{}\n",
                                 change == "made"      ? ink.green(head)
                                 : change == "deleted" ? ink.red(head)
                                                       : ink.bold(head),
                                 name.empty() || name == id ? "" : " " + ink.dim(id));
  text += diff_fields(object, ink);
  if (const auto left = object["by_left_out"].number())
    text += fmt::format("    ({} earlier records were not looked at)\n", left);
  object["by"].each([&](const Reader& step) { text += diff_step(step, ink); });
  return text + "\n";
}

std::string whatif_node(const Reader& node, std::int64_t count, const Ink& ink) {
  const bool fits = node["fits"].truth(), chosen = node["chosen"].truth();
  const Reader free = node["free"];
  std::string line =
      fmt::format("  {:<20} {} vCPUs, {} MiB, {} GiB free: {}", node["name"].text(), free["vcpus"].number(),
                  free["ram_mib"].number(), free["disk_gib"].number(),
                  fits ? fmt::format("fits, weight {}", node["weight"].number()) : node["verdict"].text());
  if (count > 1 && node["placed"].number()) line += fmt::format(", {} of them", node["placed"].number());
  if (chosen) line += "  <- chosen";
  if (node["decided"].truth()) line += chosen ? ", as it was" : "  <- it was chosen";
  return (chosen ? ink.green(line) : fits ? line : ink.red(line)) + "\n";
}

}  // namespace

bool wants_colour() {
  const char* no = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) && !(no && *no);
}

Result<std::string> status_text(std::string_view text, bool colour) {
  const auto value = parse(text);
  if (!value) return value.error();
  const Reader root(&*value);
  const Ink ink{colour};
  std::string out = fmt::format("cloud   {} {}\nlog     {}\n", ink.bold(root["cloud"]["name"].text()),
                                root["cloud"]["id"].text(), root["cloud"]["place"].text());
  if (const auto to = root["cloud"]["sealed_place"].text(); !to.empty())
    out += ink.red("        sealed: the cloud went to " + to) + "\n";
  out += fmt::format("seq     {}\nhead    {}\ndigest  {}\nat      {}\n", root["head"]["seq"].number(),
                     root["head"]["hash"].text(), root["head"]["digest"].text(), root["head"]["at"].text());
  if (const Reader from = root["past"]["from"]; from["seq"].number() > 1)
    out += fmt::format("past    can be read from seq {} of {} on\n", from["seq"].number(), from["at"].text());
  out += status_roles(root, ink);
  const Reader counts = root["counts"];
  out += fmt::format("holds   {} servers, {} volumes, {} images, {} networks, {} ports\n",
                     counts["servers"].number(), counts["volumes"].number(), counts["images"].number(),
                     counts["networks"].number(), counts["ports"].number());
  out += fmt::format("nodes   {}\n{}", root["nodes_in_all"].number(), status_nodes(root, ink));
  const auto all = root["unsettled_in_all"].number();
  out += all ? fmt::format("not settled: {}\n", all) : "everything is settled\n";
  root["unsettled"].each([&](const Reader& one) {
    out += fmt::format("  {} {} {} {}\n    {}{}\n", one["kind"].text(), one["id"].text(), one["name"].text(),
                       ink.bold(one["state"].text()), one["reason"].text(),
                       one["deadline"].text().empty() ? "" : ink.dim(" (by " + one["deadline"].text() + ")"));
  });
  if (const auto more = all - static_cast<std::int64_t>(root["unsettled"].size()); more > 0)
    out += fmt::format("  … and {} more\n", more);
  return out;
}

Result<std::string> checkpoint_text(std::string_view text) {
  const auto value = parse(text);
  if (!value) return value.error();
  const Reader root(&*value);
  return fmt::format("checkpoint of seq {}, digest {}…, {} bytes\n  {}", root["seq"].number(), root["digest"].text(),
                     root["bytes"].number(), root["dir"].text());
}

Result<std::string> why_text(std::string_view text, bool colour) {
  const auto value = parse(text);
  if (!value) return value.error();
  const Reader root(&*value);
  const Ink ink{colour};
  std::string out = fmt::format(
      "{} {}\nnow, at seq {}: {}\n\n", root["kind"].text().empty() ? "object" : root["kind"].text(),
      ink.bold(root["name"].text().empty() ? root["id"].text()
                                           : fmt::format("{} {}", root["name"].text(), root["id"].text())),
      root["seq"].number(), ink.bold(root["now"].text()));
  if (const auto left = root["left_out"].number())
    out += fmt::format("({} earlier records are left out)\n", left);
  root["steps"].each([&](const Reader& step) {
    out += step_head(step, ink);
    step["events"].each([&](const Reader& event) { out += fmt::format("    {}\n", event["words"].text()); });
    if (step["weighed"].there()) out += weighing_text(step["weighed"], ink);
  });
  return out;
}

Result<std::string> diff_text(std::string_view text, bool colour) {
  const auto value = parse(text);
  if (!value) return value.error();
  const Reader root(&*value);
  const Ink ink{colour};
  std::string out;
  for (const char* end : {"from", "to"})
    out += fmt::format("{:<5} seq {}  {}\n", end, root[end]["seq"].number(), ink.dim(root[end]["at"].text()));
  const auto all = root["objects_in_all"].number();
  out += all ? fmt::format("{} object{} differ{}\n\n", all, all == 1 ? "" : "s", all == 1 ? "s" : "")
             : "nothing differs\n";
  root["objects"].each([&](const Reader& object) { out += diff_object(object, ink); });
  if (const auto more = all - static_cast<std::int64_t>(root["objects"].size()); more > 0)
    out += fmt::format("… and {} more: choose moments that lie closer together\n", more);
  return out;
}

Result<std::string> whatif_text(std::string_view text, bool colour) {
  const auto value = parse(text);
  if (!value) return value.error();
  const Reader root(&*value);
  const Ink ink{colour};
  const Reader request = root["request"], decided = root["decided"];
  const auto count = root["count"].number(), placed = root["placed"].number();
  std::string out;
  if (const auto object = root["object"].text(); !object.empty())
    out +=
        fmt::format("{}{}\n", root["name"].text().empty() ? "" : ink.bold(root["name"].text()) + " ", object);
  if (decided.there())
    out += fmt::format(
        "seq {} says: {}\n", decided["seq"].number(),
        decided["node"].text().empty() ? ink.red("no node fits") : "placed on " + decided["name"].text());
  out += fmt::format("in the state of seq {}, {}{} vCPUs, {} MiB of RAM, {} GiB of disk{}{}:\n",
                     root["seq"].number(), count > 1 ? fmt::format("{} times ", count) : "",
                     request["vcpus"].number(), request["ram_mib"].number(), request["disk_gib"].number(),
                     request["zone"].text().empty() ? "" : ", zone " + request["zone"].text(),
                     request["host"].text().empty() ? "" : ", host " + request["host"].text());
  root["changes"].each([&](const Reader& change) { out += "  (" + change.text() + ")\n"; });
  root["nodes"].each([&](const Reader& node) { out += whatif_node(node, count, ink); });
  if (const auto more = root["considered"].number() - static_cast<std::int64_t>(root["nodes"].size());
      more > 0)
    out += fmt::format("  … and {} more\n", more);
  const std::string verdict =
      count > 1 ? fmt::format("{} of {} find a node", placed, count)
      : placed  ? fmt::format("it fits on {} of {} nodes", root["fits"].number(), root["considered"].number())
                : "no node fits";
  return out + (placed == count ? ink.green(verdict) : ink.red(verdict)) + "; nothing was changed\n";
}

bool all_placed(std::string_view text) {
  const auto value = parse(text);
  if (!value) return false;
  const Reader root(&*value);
  return root["placed"].number() == root["count"].number();
}

Result<std::string> event_text(std::string_view line, bool colour) {
  const auto value = parse(line);
  if (!value) return value.error();
  const Reader root(&*value);
  const Ink ink{colour};
  const auto* event = root["event"].object();
  std::string by = root["cause"].text();
  if (root["intent"].there())
    by = fmt::format("{} {}", root["intent"]["type"].text(), root["intent"]["request_id"].text());
  else if (root["node"].there()) by = fmt::format("report of {}", root["node"].text());
  return fmt::format("{} {} {} {}",
                     ink.dim(fmt::format("{}.{}", root["seq"].number(), root["index"].number())),
                     ink.dim(root["at"].text()), event ? words_of(*event) : "?", ink.dim("[" + by + "]"));
}

}  // namespace reprise::cli
