#include "controlplane/api/hosts.h"

namespace reprise::api {
namespace {

constexpr std::string_view before = "node ";

bool is_node(const View& view, std::string_view name) {
  bool found = false;
  view.each_key_by<Node>(Node::by_name, KeyWriter().word(std::string(name)), [&](const NodeId&) { found = true; });
  return found;
}

}  // namespace

std::string without_hosts(const View& view, std::string text) {
  for (std::size_t at = 0; (at = text.find(before, at)) != text.npos; at += before.size()) {
    const auto begin = at + before.size();
    const auto end = std::min(text.find_first_of(" ,;:()", begin), text.size());
    const auto name = std::string_view(text).substr(begin, end - begin);
    const auto id = NodeId::parse(name);
    if (!is_node(view, name) && !(id && view.contains<Node>(*id))) continue;
    text.replace(at, end - at, "its node");
  }
  return text;
}

}  // namespace reprise::api
