// Stand-in for openssl/md5.h, for systems without OpenSSL's headers: MD5() alone (RFC 1321), whole in this header.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include <string>
#define MD5_DIGEST_LENGTH 16
inline unsigned char* MD5(const unsigned char* data, size_t length, unsigned char* digest) {
  static unsigned char own[MD5_DIGEST_LENGTH];
  static const int turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
  if (digest == nullptr) digest = own;
  std::string text((const char*)data, length);
  text += (char)0x80;
  while (text.size() % 64 != 56) text += (char)0;
  uint64_t bits = (uint64_t)length * 8;
  for (int i = 0; i < 8; i++) text += (char)(bits >> (8 * i));
  uint32_t state[4] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u};
  for (size_t start = 0; start < text.size(); start += 64) {
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
    for (int i = 0; i < 16; i++) {
      words[i] = 0;
      for (int j = 0; j < 4; j++) words[i] |= (uint32_t)(unsigned char)text[start + 4 * i + j] << (8 * j);
    }
    for (int i = 0; i < 64; i++) {
      uint32_t f;
      int g;
      if (i < 16) f = (b & c) | (~b & d), g = i;
      else if (i < 32) f = (d & b) | (~d & c), g = (5 * i + 1) % 16;
      else if (i < 48) f = b ^ c ^ d, g = (3 * i + 5) % 16;
      else f = c ^ (b | ~d), g = (7 * i) % 16;
      uint32_t sum = a + f + (uint32_t)(int64_t)floor(fabs(sin((double)(i + 1))) * 4294967296.0) + words[g];
      int turn = turns[i / 16][i % 4];
      a = d, d = c, c = b;
      b += (sum << turn) | (sum >> (32 - turn));
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  }
  for (int i = 0; i < 16; i++) digest[i] = (unsigned char)(state[i / 4] >> (8 * (i % 4)));
  return digest;
}
