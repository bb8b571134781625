//! The contract's enums as words, and in settings: `Behavior` and the like can be parts of a settings type.

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::{AuthorKind, Behavior, Implementation};

macro_rules! words {
    ($($name:ident { $($case:ident = $word:literal),* $(,)? } $(| $other:ident)?)*) => {$(
        impl $name {
            /// The contract's word for it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$case => $word,)*
                    $(Self::$other => "other",)?
                }
            }
        }

        /// Written in kebab-case. A case that only later hosts send cannot be written.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;

                impl Visitor<'_> for Word {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E: Error>(self, word: &str) -> Result<$name, E> {
                        match word {
                            $($word => Ok($name::$case),)*
                            other => Err(E::unknown_variant(other, &[$($word),*])),
                        }
                    }
                }

                deserializer.deserialize_str(Word)
            }
        }

        #[cfg(not(target_arch = "wasm32"))]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "enum": [$($word),*]})
            }
        }
    )*};
}

words! {
    Behavior { Apply = "apply", Detect = "detect", Destroy = "destroy" }
    AuthorKind { User = "user", ApiKey = "api-key", ApiUser = "api-user", System = "system" } | Other
    Implementation {
        Manual = "manual",
        Terraform = "terraform",
        GithubWorkflow = "github-workflow",
        GitlabCicd = "gitlab-cicd",
        AzureDevops = "azure-devops",
    } | Other
}
