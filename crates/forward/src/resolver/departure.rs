//! A question on its short way, from a lane's point of view.

use std::sync::Arc;
use std::time::Duration;

use portolan_proto::Message;

use super::Inner;
use super::answer;
use super::authentic_data;
use crate::Answer;
use crate::Failure;
use crate::Forward;
use crate::Question;
use crate::flight::Joined;
use crate::flight::Landing;
use crate::question;
use crate::question::Reading;
use crate::race::Reply;
use crate::stanza::First;
use crate::udp::Begun;

/// How a lane asks a question, which the lane has itself.
#[derive(Debug)]
pub(crate) struct Departure {
    /// Who has it asked.
    pub(super) inner: Arc<Inner>,
    /// Takes it off the table of what is being asked.
    pub(super) landing: Landing,
    /// Whom to ask.
    pub(crate) first: First,
    /// What the cache had forgotten when it was asked; `None` without a cache.
    pub(super) generation: Option<u64>,
    /// Whether AD of the answer is for the client to see.
    pub(super) wants_authentic_data: bool,
}

/// A question that a [`crate::Lane`] has begun to ask, and whose answer is late
/// or not the lane's to judge.
#[derive(Debug)]
pub struct Unfinished {
    /// The question.
    question: Arc<Question>,
    /// How it was asked.
    departure: Departure,
    /// What was begun.
    begun: Box<Begun>,
}

/// What a datagram is to a question.
pub(crate) enum Read {
    /// The answer.
    Answer(Message),
    /// Nothing: it is not to this question, or not a message.
    Stray,
    /// Something that is not for a lane to judge.
    Other,
}

// === impl Departure ===

impl Departure {
    /// What a datagram is to the question, name, type and class, under an id.
    pub(crate) fn read(&self, question: &[u8], datagram: &[u8], id: u16) -> Read {
        match question::read(question, datagram, id) {
            Reading::Answer(message) if self.first.is_final(message.rcode()) => {
                Read::Answer(message)
            }
            Reading::Answer(_) | Reading::HeaderError => Read::Other,
            Reading::Stray => Read::Stray,
        }
    }

    /// Takes in that the question was sent.
    pub(crate) fn begin(&self, question: &Question) {
        self.first.begin();
        if let Some(cache) = &self.inner.cache {
            cache.missed(question);
        }
    }

    /// Ends with an answer that has taken so long. The cache keeps it with the
    /// question.
    pub(crate) fn arrive(
        self,
        question: impl FnOnce() -> Option<Question>,
        mut message: Message,
        taken: Duration,
    ) -> Answer {
        let Self {
            inner,
            landing,
            first,
            generation,
            wants_authentic_data,
        } = self;
        let upstream = first.upstream();
        upstream.heard_by_lane(&mut message, taken);
        first.end();
        let reply = Reply {
            message,
            upstream: Arc::clone(upstream.label()),
        };
        let mut answer = answer(wants_authentic_data, reply);
        if generation.is_some()
            && let Some(question) = question()
        {
            inner.keep_answer(&question, generation, &mut answer);
        }
        landing.tell(|| Ok(answer.clone()));
        answer
    }

    /// Leaves the rest to others.
    pub(crate) fn leave(self, question: Question, begun: Box<Begun>) -> Unfinished {
        Unfinished {
            question: Arc::new(question),
            departure: self,
            begun,
        }
    }
}

// === impl Unfinished ===

impl Unfinished {
    /// Goes on, as [`crate::Resolver::resolve`] does.
    ///
    /// # Errors
    ///
    /// [`Failure`] if nobody gave an answer, or too many queries are waiting
    /// for one.
    pub async fn finish(self) -> Result<Answer, Failure> {
        let Self {
            question,
            departure,
            begun,
        } = self;
        let Departure {
            inner,
            landing,
            first,
            generation,
            wants_authentic_data,
        } = departure;
        let asked = Arc::clone(&question);
        let ask = |joined: Arc<Joined>| async move {
            let answered = async {
                let _permit = inner.permit()?;
                let reply = Forward::go_on(&asked, first, begun).await?;
                Ok(answer(wants_authentic_data, reply))
            };
            inner.keep_what(&asked, &joined, generation, answered).await
        };
        let mut answer = landing.hand_over(ask).await?;
        answer.authentic_data = authentic_data(wants_authentic_data, &answer.message);
        Ok(answer)
    }
}
