#include "agents/compute/server_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "agents/compute/config_drive.h"
#include "agents/compute/console_log.h"

namespace reprise::compute {
namespace {

namespace fs = std::filesystem;

Error file_error(const std::string& what, const std::error_code& error) {
  const auto code = error.value() == ENOSPC   ? Errc::no_space
                    : error.value() == ENOENT ? Errc::not_found
                                              : Errc::broken;
  return {code, fmt::format("{}: {}", what, error.message())};
}

bool is_file(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Status make_folder(const std::string& path, mode_t mode) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return file_error("making the folder " + path, error);
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && (info.st_mode & 07777) == mode) return {};
  if (chmod(path.c_str(), mode) == 0) return {};
  return file_error("protecting " + path, std::error_code(errno, std::generic_category()));
}

}  // namespace

ServerFiles::ServerFiles(std::string state, storage::ImagePath image_path, OpenSealed open_sealed)
    : state_(std::move(state)), image_path_(std::move(image_path)), open_sealed_(std::move(open_sealed)) {}

std::string ServerFiles::folder(ServerId id, Born born) const {
  return fmt::format("{}/servers/{}.{}", state_, id.str(), born.str());
}

Status ServerFiles::make_folders() const {
  // QEMU may run under a user of its own: it may pass through to the files that libvirt gives it.
  // User data is in the clear in scratch for a moment.
  const std::pair<std::string, mode_t> folders[] = {
      {state_, 0711}, {state_ + "/servers", 0711}, {state_ + "/scratch", 0700}};
  for (const auto& [path, mode] : folders)
    if (auto made = make_folder(path, mode); !made) return made;
  return {};
}

void ServerFiles::open() {
  std::error_code ignored;
  fs::remove_all(state_ + "/scratch", ignored);
  (void)make_folders();
}

Status ServerFiles::fetch(ImageId image, const char* what, const std::string& scratch, const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) return {};
  const auto source = image_path_(image);
  if (!source)
    return {source.error().code, fmt::format("{} image {}: {}", what, image.str(), source.error().text)};
  std::error_code error;
  fs::remove(path, error);  // empty: a copy that a full disk cut short in an older version
  error.clear();
  const auto temporary = fmt::format("{}/{}", scratch, what);
  fs::copy_file(*source, temporary, fs::copy_options::overwrite_existing, error);
  if (!error) fs::permissions(temporary, fs::perms(0600), error);
  if (!error) fs::rename(temporary, path, error);
  if (!error) return {};
  return file_error(fmt::format("copying the {} image {} to {}", what, image.str(), path), error);
}

Status ServerFiles::burn_config_drive(const ServerWant& server, const std::string& scratch,
                                      const std::string& path) {
  const auto key_path = path + ".key";
  const auto key = config_drive_key(server);
  const bool there = is_file(path);
  if (there && first_line(key_path) == key) return {};
  GuestSecrets secrets;
  for (const auto& [what, sealed, into] : {std::tuple("user data", &server.guest.user_data_sealed, &secrets.user_data),
                                           std::tuple("admin password", &server.guest.admin_pass_sealed, &secrets.admin_pass)}) {
    if (sealed->empty()) continue;
    const auto opened = open_sealed_(server.guest.project, *sealed);
    // The key went with its project: what the guest was told before is the most that can be told.
    if (!opened && there) return {};
    if (!opened) return {opened.error().code, fmt::format("{} of server {}: {}", what, server.id.str(), opened.error().text)};
    into->assign(opened->begin(), opened->end());
  }
  // Without a key while it is made: one that is cut short is made again.
  unlink(key_path.c_str());
  if (auto made = make_config_drive(server, secrets, scratch, path); !made) return made;
  std::ofstream(key_path) << key << '\n';
  return {};
}

Result<ServerPaths> ServerFiles::prepare(const ServerWant& server) {
  if (auto made = make_folders(); !made) return made.error();
  ServerPaths paths;
  paths.folder = folder(server.id, server.born);
  paths.console_log = paths.folder + "/console.log";
  if (auto made = make_folder(paths.folder, 0711); !made) return made.error();
  if (fs::is_directory(paths.console_log))
    return Error{Errc::broken, paths.console_log + " is a folder and must be a file: remove it"};
  // Of its own: others are made at the same time.
  const auto scratch = fmt::format("{}/scratch/{}.{}", state_, server.id.str(), server.born.str());
  if (auto made = make_folder(scratch, 0700); !made) return made.error();
  const auto done = fill(server, scratch, paths);
  std::error_code ignored;
  fs::remove_all(scratch, ignored);
  if (!done) return done.error();
  return paths;
}

Status ServerFiles::fill(const ServerWant& server, const std::string& scratch, ServerPaths& paths) {
  if (server.kernel) {
    paths.kernel = paths.folder + "/kernel";
    if (auto done = fetch(*server.kernel, "kernel", scratch, paths.kernel); !done) return done;
  }
  if (server.kernel && server.ramdisk) {
    paths.ramdisk = paths.folder + "/ramdisk";
    if (auto done = fetch(*server.ramdisk, "ramdisk", scratch, paths.ramdisk); !done) return done;
  }
  if (!server.config_drive) return {};
  paths.config_drive = paths.folder + "/config.iso";
  return burn_config_drive(server, scratch, paths.config_drive);
}

Status ServerFiles::remove(ServerId id, Born born) {
  std::error_code error;
  fs::remove_all(folder(id, born), error);
  if (error) return file_error("removing " + folder(id, born), error);
  return {};
}

std::vector<std::pair<ServerId, Born>> ServerFiles::list() const {
  std::vector<std::pair<ServerId, Born>> servers;
  std::error_code error;
  fs::directory_iterator entries(state_ + "/servers", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error)) {
    const auto name = entries->path().filename().string();
    if (name.size() < 38 || name[36] != '.') continue;
    const auto id = ServerId::parse(name.substr(0, 36));
    const auto born = Born::parse(name.substr(37));
    if (id && born) servers.emplace_back(*id, *born);
  }
  return servers;
}

void ServerFiles::sweep(const std::function<bool(ServerId, Born)>& keep) {
  for (const auto& [id, born] : list())
    if (!keep(id, born)) (void)remove(id, born);
}

std::string ServerFiles::console_log(ServerId id) const {
  const auto head = id.str() + ".";
  std::optional<Born> youngest;
  std::error_code error;
  fs::directory_iterator entries(state_ + "/servers", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error)) {
    const auto name = entries->path().filename().string();
    if (!name.starts_with(head)) continue;
    const auto born = Born::parse(name.substr(head.size()));
    if (born && (!youngest || *youngest < *born)) youngest = born;
  }
  return youngest ? folder(id, *youngest) + "/console.log" : std::string();
}

void ServerFiles::trim_console_logs() const {
  std::error_code error;
  fs::directory_iterator entries(state_ + "/servers", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error))
    trim_console_log(entries->path().string() + "/console.log");
}

}  // namespace reprise::compute
