//! The codec against hickory-proto, an independent implementation.
//!
//! What hickory writes, our readers read to the same fields; what our writer
//! writes, hickory reads to what was meant; on hostile octets our readers do
//! not panic, and accept what hickory accepts but for these differences:
//!
//! | message | hickory | ours | why |
//! |---|---|---|---|
//! | query name compressed | accepts | format error | nothing to point back to |
//! | pointer into the header | accepts | format error | RFC 9267 §2 |
//! | name in a TTL or an address | accepts | format error | we write there |
//! | OPT owned by a pointer to the root | accepts | format error | RFC 6891 §6.1.2 |
//! | option lengths do not add up | drops the options | format error | RFC 8906 §8 |
//! | question count other than one | accepts | format error | RFC 9619 §4 |
//! | data of a known type malformed | refuses | passes on | RFC 3597 |

mod hostile;
mod query;
mod relay;
mod strategy;
mod writer;
