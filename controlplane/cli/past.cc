#include "controlplane/cli/past.h"

#include <chrono>

#include "controlplane/api/moment.h"
#include "controlplane/cli/answer.h"
#include "controlplane/story/diff.h"
#include "controlplane/story/whatif.h"

namespace reprise::cli {
namespace {

story::Source source_of(const OfflineCloud& cloud) {
  return {.view_at = [&cloud](Seq seq) { return View::at(cloud.snapshot(), seq); },
          .read_records = [&cloud](Seq from, std::size_t max) { return cloud.read_records(from, max); }};
}

Result<Seq> seq_of(const OfflineCloud& cloud, const std::string& moment) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return api::seq_of(cloud.view(), moment,
                     std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

Result<std::string> diff_offline(const OfflineCloud& cloud, const DiffOptions& options) {
  const auto from = seq_of(cloud, options.from);
  if (!from) return from.error();
  const auto to = options.to.empty() ? cloud.view().seq() : seq_of(cloud, options.to);
  if (!to) return to.error();
  const auto then = View::at(cloud.snapshot(), *from), later = View::at(cloud.snapshot(), *to);
  if (!then) return then.error();
  if (!later) return later.error();
  return story::diff_json(*then, *later, source_of(cloud));
}

Result<std::string> whatif_offline(const OfflineCloud& cloud, const WhatIfOptions& o) {
  story::WhatIf what{.object = o.object.name(),
                     .kind = o.object.kind(),
                     .flavor = o.flavor,
                     .vcpus = o.vcpus,
                     .ram_mib = o.ram_mib,
                     .disk_gib = o.disk_gib,
                     .zone = o.zone,
                     .host = o.host,
                     .without = o.without,
                     .with = o.with,
                     .vcpus_times = o.vcpus_times,
                     .ram_times = o.ram_times,
                     .disk_times = o.disk_times,
                     .count = o.count};
  if (!o.at.empty()) {
    const auto seq = o.at == "now" ? cloud.view().seq() : seq_of(cloud, o.at);
    if (!seq) return seq.error();
    what.at = *seq;
  }
  return story::whatif_json(cloud.view(), source_of(cloud), what);
}

std::string whatif_path(const WhatIfOptions& o) {
  std::string path = "/whatif";
  const auto add = [&](const char* key, const std::string& value) {
    path += fmt::format("{}{}={}", path.find('?') == path.npos ? '?' : '&', key, url_escaped(value));
  };
  if (!o.object.name().empty()) add("object", o.object.name());
  if (!o.object.kind().empty()) add("kind", o.object.kind());
  if (!o.at.empty()) add("at", o.at);
  if (!o.flavor.empty()) add("flavor", o.flavor);
  if (o.vcpus) add("vcpus", std::to_string(*o.vcpus));
  if (o.ram_mib) add("ram", std::to_string(*o.ram_mib));
  if (o.disk_gib) add("disk", std::to_string(*o.disk_gib));
  if (o.zone) add("zone", *o.zone);
  if (o.host) add("host", *o.host);
  for (const auto& node : o.without) add("without", node);
  for (const auto& node : o.with) add("with", node);
  if (o.vcpus_times != 1) add("vcpus_times", fmt::format("{}", o.vcpus_times));
  if (o.ram_times != 1) add("ram_times", fmt::format("{}", o.ram_times));
  if (o.disk_times != 1) add("disk_times", fmt::format("{}", o.disk_times));
  if (o.count != 1) add("count", std::to_string(o.count));
  return path;
}

}  // namespace

int run_diff(const DiffOptions& options) {
  const auto answer = ask(
      options.common,
      [&](const OnlineCloud& cloud) {
        const auto to = options.to.empty() ? "" : "&to=" + url_escaped(options.to);
        return cloud.get("/diff?from=" + url_escaped(options.from) + to);
      },
      [&](const OfflineCloud& cloud) { return diff_offline(cloud, options); });
  return print(options.common, answer, diff_text);
}

int run_whatif(const WhatIfOptions& options) {
  const auto answer = ask(
      options.common, [&](const OnlineCloud& cloud) { return cloud.get(whatif_path(options)); },
      [&](const OfflineCloud& cloud) { return whatif_offline(cloud, options); });
  const int printed = print(options.common, answer, whatif_text);
  return printed == exit_well && !all_placed(*answer) ? exit_wrong : printed;
}

}  // namespace reprise::cli
