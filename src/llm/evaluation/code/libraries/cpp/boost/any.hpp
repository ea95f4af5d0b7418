// Stand-in for boost/any.hpp over std::any (C++17), for systems without Boost: boost::any, boost::any_cast, boost::bad_any_cast.
#pragma once
#include <any>
#include <utility>
namespace boost {
class any {
  std::any held;

 public:
  any() = default;
  any(const any&) = default;
  any(any&&) = default;
  any& operator=(const any&) = default;
  any& operator=(any&&) = default;
  template <class T, class = std::enable_if_t<!std::is_same_v<std::decay_t<T>, any>>>
  any(T&& value) : held(std::forward<T>(value)) {}
  bool empty() const noexcept { return !held.has_value(); }
  void clear() noexcept { held.reset(); }
  any& swap(any& other) noexcept { held.swap(other.held); return *this; }
  const std::type_info& type() const noexcept { return held.type(); }
  template <class T> friend T any_cast(const any&);
  template <class T> friend T any_cast(any&);
  template <class T> friend T* any_cast(any*) noexcept;
  template <class T> friend const T* any_cast(const any*) noexcept;
};
using bad_any_cast = std::bad_any_cast;
template <class T> T any_cast(const any& value) { return std::any_cast<T>(value.held); }
template <class T> T any_cast(any& value) { return std::any_cast<T>(value.held); }
template <class T> T* any_cast(any* value) noexcept { return value ? std::any_cast<T>(&value->held) : nullptr; }
template <class T> const T* any_cast(const any* value) noexcept { return value ? std::any_cast<T>(&value->held) : nullptr; }
}  // namespace boost
