#include "projections/checkpoint.h"

#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/utilities/checkpoint.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>

#include "events/hash.h"
#include "projections/store_status.h"

namespace reprise {
namespace {

namespace fs = std::filesystem;
constexpr const char* list_name = "files";
constexpr const char* unfinished = ".new";
constexpr std::size_t seq_digits = 20, digest_digits = 16;

struct File {
  std::string name;
  std::uint64_t size = 0;
  Hash hash;
};

Error failed(const char* what, const fs::path& path, const std::string& why) {
  return {Errc::broken, fmt::format("cannot {} {}: {}", what, path.string(), why)};
}

Result<std::string> read_whole(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  std::string bytes(error ? 0 : size, '\0');
  std::ifstream file(path, std::ios::binary);
  if (error || !file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
    return failed("read", path, error ? error.message() : std::strerror(errno));
  return bytes;
}

Result<std::vector<File>> read_list(const fs::path& dir) {
  auto text = read_whole(dir / list_name);
  if (!text) return text.error();
  std::vector<File> files;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const auto first = line.find(' '), second = line.find(' ', first + 1);
    File file;
    const auto hash =
        second == line.npos ? std::nullopt : Hash::parse(line.substr(first + 1, second - first - 1));
    if (!hash || std::from_chars(line.data(), line.data() + first, file.size).ptr != line.data() + first)
      return Error{Errc::broken, fmt::format("{} is damaged", (dir / list_name).string())};
    file.hash = *hash;
    file.name = line.substr(second + 1);
    files.push_back(std::move(file));
  }
  return files;
}

Result<File> hash_file(const fs::path& path) {
  const auto bytes = read_whole(path);
  if (!bytes) return bytes.error();
  return File{path.filename().string(), bytes->size(), blake2b(*bytes)};
}

bool same_file(const fs::path& a, const fs::path& b) {
  std::error_code no;
  return fs::equivalent(a, b, no) && !no;
}

// What an earlier checkpoint shares with this one by a hard link was hashed then.
Result<std::vector<File>> hash_files(const fs::path& dir, const std::vector<Checkpoint>& earlier) {
  std::map<std::string, std::pair<fs::path, File>> known;
  if (!earlier.empty())
    if (const auto files = read_list(earlier.front().dir))
      for (const auto& file : *files) known[file.name] = {fs::path(earlier.front().dir) / file.name, file};
  std::vector<File> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("LOG") || name == "LOCK") continue;  // of whoever has it open
    const auto at = known.find(name);
    if (at != known.end() && same_file(at->second.first, entry.path())) {
      files.push_back(at->second.second);
      continue;
    }
    auto file = hash_file(entry.path());
    if (!file) return file.error();
    files.push_back(std::move(*file));
  }
  if (error) return failed("list", dir, error.message());
  return files;
}

Status write_list(const fs::path& dir, const std::vector<File>& files) {
  std::ofstream list(dir / list_name, std::ios::binary);
  for (const auto& file : files) list << fmt::format("{} {} {}\n", file.size, file.hash.hex(), file.name);
  list.close();
  return list ? Status{} : Status(failed("write", dir / list_name, std::strerror(errno)));
}

std::optional<Checkpoint> named(const fs::path& dir) {
  const auto name = dir.filename().string();
  Checkpoint found{.dir = dir.string()};
  if (name.size() != seq_digits + 1 + digest_digits || name[seq_digits] != '-') return std::nullopt;
  if (std::from_chars(name.data(), name.data() + seq_digits, found.seq).ptr != name.data() + seq_digits)
    return std::nullopt;
  found.digest = name.substr(seq_digits + 1);
  return found;
}

Result<Checkpoint> sized(const fs::path& dir) {
  const auto files = read_list(dir);
  if (!files) return files.error();
  Checkpoint made = *named(dir);
  for (const auto& file : *files) made.bytes += file.size;
  return made;
}

Status check_and_take(const fs::path& from, const File& file, const fs::path& to) {
  const auto found = hash_file(from / file.name);
  if (!found) return found.error();
  if (found->size != file.size || found->hash != file.hash)
    return {Errc::broken,
            fmt::format("{} is damaged: it is not what was written", (from / file.name).string())};
  std::error_code error;
  // RocksDB never writes to a table again; to everything else it may.
  if (fs::path(file.name).extension() == ".sst") {
    fs::create_hard_link(from / file.name, to / file.name, error);
    if (!error) return {};
    error.clear();
  }
  fs::copy_file(from / file.name, to / file.name, error);
  if (error) return failed("copy", from / file.name, error.message());
  return {};
}

}  // namespace

Result<Checkpoint> make_checkpoint(const StoreFamilies& families, const std::string& folder) {
  const fs::path made = fs::path(folder) / unfinished;
  std::error_code error;
  fs::create_directories(folder, error);
  fs::remove_all(made, error);
  rocksdb::Checkpoint* raw = nullptr;
  auto status = rocksdb::Checkpoint::Create(families.db.get(), &raw);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
  if (status.ok()) status = checkpoint->CreateCheckpoint(made.string());
  if (!status.ok()) return store_error(status, made.string());
  StoreHead head;
  {
    const auto store = Store::open({.dir = made.string(), .read_only = true});
    if (!store) return store.error();
    head = (*store)->head();
  }
  if (head.head.seq == 0)
    return Error{Errc::not_found, "nothing was folded yet: there is nothing to make a checkpoint of"};
  const fs::path dir =
      fs::path(folder) / fmt::format("{:020}-{}", head.head.seq, head.digest.hex().substr(0, digest_digits));
  if (fs::exists(dir, error)) {
    fs::remove_all(made, error);
    return sized(dir);
  }
  const auto files = hash_files(made, list_checkpoints(folder));
  if (!files) return files.error();
  if (auto written = write_list(made, *files); !written) return written.error();
  fs::rename(made, dir, error);
  if (error) return failed("rename to", dir, error.message());
  return sized(dir);
}

std::vector<Checkpoint> list_checkpoints(const std::string& folder) {
  std::vector<Checkpoint> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (auto one = named(entry.path())) found.push_back(std::move(*one));
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.dir > b.dir; });
  return found;
}

Status prune_checkpoints(const std::string& folder, std::size_t keep) {
  std::error_code error;
  fs::remove_all(fs::path(folder) / unfinished, error);
  const auto all = list_checkpoints(folder);
  for (std::size_t i = keep; i < all.size(); ++i) {
    // Not half of one under its name.
    fs::rename(all[i].dir, fs::path(folder) / unfinished, error);
    if (!error) fs::remove_all(fs::path(folder) / unfinished, error);
    if (error) return failed("remove", all[i].dir, error.message());
  }
  return {};
}

Status adopt_checkpoint(const Checkpoint& checkpoint, const std::string& dir) {
  const fs::path made = dir + unfinished;
  std::error_code error;
  fs::remove_all(made, error);
  fs::create_directories(made, error);
  if (error) return failed("make", made, error.message());
  const auto files = read_list(checkpoint.dir);
  Status taken = files ? Status{} : Status(files.error());
  for (std::size_t i = 0; taken && i < files->size(); ++i)
    taken = check_and_take(checkpoint.dir, (*files)[i], made);
  if (taken) {
    fs::remove(dir, error);  // an empty folder; of anything else rename() says so
    fs::rename(made, dir, error);
    if (error) taken = failed("rename to", dir, error.message());
  }
  if (!taken) fs::remove_all(made, error);
  return taken;
}

}  // namespace reprise
