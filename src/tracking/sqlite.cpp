#include "tracking/sqlite.hpp"

#include <algorithm>
#include <ctime>
#include <limits>
#include <string>
#include <thread>

namespace mizzen::tracking::detail {

error sqlite_error(int extended_code, std::string_view path, std::string_view message) {
  const std::string subject = "store '" + std::string(path) + "'";
  const std::string said = " (SQLite: " + std::string(message) + ")";
  if (extended_code == SQLITE_READONLY_DBMOVED) {
    return {errc::failed_precondition, subject,
            "the file was moved or deleted while it was open; open the store anew" + said};
  }
  switch (extended_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {errc::unavailable, subject,
              "other writers kept it locked until the deadline; try again, or raise "
              "client_options::busy_timeout" +
                  said};
    case SQLITE_FULL:
      return {errc::resource_exhausted, subject,
              "the disk is full; make room and try again" + said};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {errc::permission_denied, subject,
              "it cannot be written; give this user write permission on the file and its folder" +
                  said};
    case SQLITE_CANTOPEN:
      return {errc::permission_denied, subject,
              "it cannot be opened; check that the folder exists and that this user may write "
              "there" +
                  said};
    case SQLITE_NOTADB:
      return {errc::data_loss, subject,
              "it is not an SQLite database; name another file or restore this one" + said};
    case SQLITE_CORRUPT:
      return {errc::data_loss, subject,
              "it is damaged; restore a backup, or salvage it with the sqlite3 shell's .recover" +
                  said};
    case SQLITE_IOERR:
      return {errc::unavailable, subject, "the file system failed to read or write it" + said};
    case SQLITE_NOMEM:
      return {errc::resource_exhausted, subject, "out of memory" + said};
    case SQLITE_TOOBIG:
      return {errc::out_of_range, subject, "a value is larger than SQLite can hold" + said};
    case SQLITE_CONSTRAINT:
      return {errc::failed_precondition, subject,
              "the change would break the schema's rules" + said};
    default:
      return {errc::internal, subject, "SQLite refused the statement" + said};
  }
}

// --- statement -----------------------------------------------------------------------------------

void statement::check_bind(int code) const {
  if (code != SQLITE_OK) {
    sqlite3* handle = sqlite3_db_handle(prepared_);
    const char* path = sqlite3_db_filename(handle, "main");
    throw sqlite_error(code, path != nullptr ? path : "", sqlite3_errmsg(handle));
  }
}

void statement::bind_one(int index, std::string_view value) {
  // A null pointer would bind NULL, and an empty view may have one.
  check_bind(sqlite3_bind_text64(prepared_, index, value.data() != nullptr ? value.data() : "",
                                 value.size(), SQLITE_STATIC, SQLITE_UTF8));
}
void statement::bind_one(int index, std::nullptr_t) {
  check_bind(sqlite3_bind_null(prepared_, index));
}
void statement::bind_one(int index, double value) {
  check_bind(sqlite3_bind_double(prepared_, index, value));
}
void statement::bind_integer(int index, std::int64_t value) {
  check_bind(sqlite3_bind_int64(prepared_, index, value));
}

bool statement::step() {
  const int code = sqlite3_step(prepared_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  sqlite3* handle = sqlite3_db_handle(prepared_);
  const char* path = sqlite3_db_filename(handle, "main");
  throw sqlite_error(sqlite3_extended_errcode(handle), path != nullptr ? path : "",
                     sqlite3_errmsg(handle));
}

bool statement::is_null(int column) const noexcept {
  return sqlite3_column_type(prepared_, column) == SQLITE_NULL;
}
std::int64_t statement::integer(int column) const noexcept {
  return sqlite3_column_int64(prepared_, column);
}
double statement::real(int column) const noexcept {
  return sqlite3_column_double(prepared_, column);
}
std::string statement::text(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(prepared_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(prepared_, column))};
}
std::optional<std::int64_t> statement::optional_integer(int column) const {
  if (is_null(column)) return std::nullopt;
  return integer(column);
}

// --- connection ----------------------------------------------------------------------------------

connection::connection(const std::string& path, access mode, bool create,
                       std::chrono::milliseconds busy_timeout)
    : path_(path), busy_timeout_(busy_timeout) {
  // The owner's lock makes SQLite's own mutexes needless. A reader opens the file for writing too:
  // WAL readers take their locks in shared memory.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
  int code = sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr);
  if (code == SQLITE_OK) {
    sqlite3_extended_result_codes(handle_, 1);
    sqlite3_busy_handler(handle_, &connection::on_busy, this);
    // Not to be tricked by a file whose schema calls functions with side effects.
    code = sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  }
  if (code != SQLITE_OK) {
    const error failure =
        sqlite_error(code, path, handle_ != nullptr ? sqlite3_errmsg(handle_) : "out of memory");
    sqlite3_close_v2(handle_);
    throw failure;
  }
  if (mode == access::read) {
    try {
      execute("PRAGMA query_only = 1");
    } catch (...) {
      sqlite3_close_v2(handle_);
      throw;
    }
  }
}

connection::~connection() {
  for (const auto& [sql, prepared] : statements_) sqlite3_finalize(prepared);
  sqlite3_close_v2(handle_);
}

void connection::abandon() noexcept {
  statements_.clear();
  handle_ = nullptr;
}

int connection::on_busy(void* self, int calls) noexcept {
  auto& that = *static_cast<connection*>(self);
  if (calls == 0) that.waiting_until_ = deadline::after(that.busy_timeout_);
  if (that.waiting_until_.expired()) return 0;
  // 0.1 ms doubling to 12.8 ms, jittered so that waiters do not march in step.
  const auto ceiling = std::chrono::microseconds(100) * (1 << std::min(calls, 7));
  const auto jitter = std::chrono::steady_clock::now().time_since_epoch().count() % 512;
  const auto pause = ceiling / 2 + ceiling * jitter / 1024;
  std::this_thread::sleep_for(
      std::min<std::chrono::nanoseconds>(pause, that.waiting_until_.remaining()));
  return 1;
}

statement connection::prepare(const char* literal) {
  sqlite3_stmt*& prepared = statements_[literal];
  if (prepared == nullptr) {
    const int code =
        sqlite3_prepare_v3(handle_, literal, -1, SQLITE_PREPARE_PERSISTENT, &prepared, nullptr);
    if (code != SQLITE_OK) fail(code);
  }
  return statement(prepared);
}

connection::once::once(connection& owner, std::string_view sql) {
  const int code = sqlite3_prepare_v2(owner.handle_, sql.data(), static_cast<int>(sql.size()),
                                      &prepared_, nullptr);
  if (code != SQLITE_OK) owner.fail(code);
}

void connection::execute(const std::string& script) {
  const int code = sqlite3_exec(handle_, script.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

int connection::changes() const noexcept { return sqlite3_changes(handle_); }
std::int64_t connection::last_row() const noexcept { return sqlite3_last_insert_rowid(handle_); }
bool connection::is_read_only() const noexcept { return sqlite3_db_readonly(handle_, "main") == 1; }

void connection::fail(int code) const { throw sqlite_error(code, path_, sqlite3_errmsg(handle_)); }

// --- transaction ---------------------------------------------------------------------------------

transaction::transaction(connection& on, kind wanted) : on_(on) {
  on_.prepare(wanted == kind::write ? "BEGIN IMMEDIATE" : "BEGIN").run();
}

transaction::~transaction() {
  if (!open_) return;
  // SQLite may have rolled back by itself (disk full); then there is nothing left to do.
  if (on_.handle_ != nullptr && sqlite3_get_autocommit(on_.handle_) == 0) {
    sqlite3_exec(on_.handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

void transaction::commit() {
  on_.prepare("COMMIT").run();
  open_ = false;
}

}  // namespace mizzen::tracking::detail
