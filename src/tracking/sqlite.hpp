// A thin layer over SQLite: connections with a statement cache, and its errors as mizzen::error.
#pragma once

#include <mizzen/core/deadline.hpp>
#include <mizzen/core/error.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <sqlite3.h>
#include <string>
#include <string_view>
#include <type_traits>

namespace mizzen::tracking::detail {

// A prepared statement, reset and with its bindings cleared when the use of it ends.
class statement {
 public:
  explicit statement(sqlite3_stmt* prepared) noexcept : prepared_(prepared) {}
  statement(const statement&) = delete;
  statement& operator=(const statement&) = delete;
  ~statement() {
    sqlite3_reset(prepared_);
    sqlite3_clear_bindings(prepared_);
  }

  // Binds the parameters in order, from the first. Text must outlive the statement's use.
  template <typename... Values>
  statement& bind(const Values&... values) {
    int index = 0;
    (bind_one(++index, values), ...);
    return *this;
  }
  void bind_one(int index, std::string_view value);
  void bind_one(int index, std::nullptr_t);
  void bind_one(int index, double value);
  template <typename T>
    requires std::is_integral_v<T>
  void bind_one(int index, T value) {
    bind_integer(index, static_cast<std::int64_t>(value));
  }
  template <typename T>
  void bind_one(int index, const std::optional<T>& value) {
    if (value) {
      bind_one(index, *value);
    } else {
      bind_one(index, nullptr);
    }
  }

  // True while there is a row. Throws the error of the step.
  bool step();
  // Runs a statement that gives no rows.
  void run() {
    while (step()) {
    }
  }

  bool is_null(int column) const noexcept;
  std::int64_t integer(int column) const noexcept;
  double real(int column) const noexcept;
  std::string text(int column) const;  // empty for NULL
  std::optional<std::int64_t> optional_integer(int column) const;

 private:
  void bind_integer(int index, std::int64_t value);
  void check_bind(int code) const;

  sqlite3_stmt* prepared_;
};

// One connection. Not thread safe: its owner locks.
class connection {
 public:
  enum class access { write, read };

  // Opens a file that exists or, with create, makes an empty one.
  connection(const std::string& path, access mode, bool create,
             std::chrono::milliseconds busy_timeout);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  // The cached statement of this SQL text, which must be a literal (the cache is keyed by address).
  statement prepare(const char* literal);
  // A statement for text made at run time; not cached.
  class once {
   public:
    once(connection& owner, std::string_view sql);
    ~once() { sqlite3_finalize(prepared_); }
    once(const once&) = delete;
    once& operator=(const once&) = delete;
    statement use() const noexcept { return statement(prepared_); }

   private:
    sqlite3_stmt* prepared_ = nullptr;
  };

  // Runs a script of several statements.
  void execute(const std::string& script);

  // Rows changed by the last INSERT, UPDATE or DELETE.
  int changes() const noexcept;
  std::int64_t last_row() const noexcept;
  bool is_read_only() const noexcept;
  const std::string& path() const noexcept { return path_; }

  // Throws the error for a result code of this connection.
  [[noreturn]] void fail(int code) const;

  // Lets go of the file without touching it: what a forked child must do instead of closing.
  void abandon() noexcept;

 private:
  friend class transaction;
  static int on_busy(void* self, int calls) noexcept;

  sqlite3* handle_ = nullptr;
  std::string path_;
  std::chrono::milliseconds busy_timeout_;
  deadline waiting_until_;  // set at the first refusal of each wait
  std::map<const char*, sqlite3_stmt*> statements_;
};

// A transaction that is rolled back unless commit() was called. A writing one takes SQLite's write
// lock at once, so that it never fails half way because another writer came first.
class transaction {
 public:
  enum class kind { read, write };
  transaction(connection& on, kind wanted);
  ~transaction();
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;
  void commit();

 private:
  connection& on_;
  bool open_ = true;
};

// The error for a result code. Exposed for tests.
error sqlite_error(int extended_code, std::string_view path, std::string_view message);

}  // namespace mizzen::tracking::detail
